//! Everwrite's destination, in the order in which a batch passes through it.
//!
//! - [`identity`], [`tls`], [`pairing`]: who is there, and who may come in.
//! - [`transport`]: frames over any stream.
//! - [`network_backup`]: sessions with coordinators.
//! - [`serve`]: the daemon round them.
//! - [`store`]: one source's store: takes batches, tells when they are stored and applied, answers
//!   questions about the past.
//! - [`log`]: where batches become durable, before they are acknowledged.
//! - [`apply`]: brings them into the mirror, window by window.
//! - [`mirror`]: plain files, reached through no link.
//! - [`catalog`]: the index of everything, over all time.
//! - [`history`]: answers about any moment.
//! - [`restore`]: brings a file or a tree back as it was, out of a store or through a receiver.
//! - [`time_expression`]: moments as people write them.
//! - [`verify`]: compares a store with what it should hold.
//! - [`without_shim`]: keeps the daemons, here and at the source, from being heard themselves.
//! - [`open_files`]: how many the daemons may have.
//! - [`cli`]: the program's commands; [`answers`]: how commands answer, here and at the source.
pub mod answers;
pub mod apply;
pub mod catalog;
pub mod cli;
pub mod history;
pub mod identity;
pub mod log;
pub mod mirror;
pub mod network_backup;
pub mod open_files;
pub mod pairing;
pub mod restore;
pub mod serve;
pub mod store;
pub mod time_expression;
pub mod tls;
pub mod transport;
pub mod verify;
mod whole_file;
pub mod without_shim;
