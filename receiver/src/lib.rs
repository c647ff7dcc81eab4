//! Everwrite's destination, in the order in which a batch passes through it.
//!
//! - [`store`]: one source's store: takes batches, tells when they are stored and applied, answers
//!   questions about the past.
pub mod store;
