//! Everwrite's destination, in the order in which a batch passes through it.
//!
//! - [`store`]: one source's store: takes batches, tells when they are stored and applied, answers
//!   questions about the past.
//! - [`time_expression`]: moments as people write them.
pub mod store;
pub mod time_expression;
