//! The API of the daemon: HTTP and JSON under `/api/v1`, on a Unix socket that only its owner can open.
//!
//! The command line and every other front end use this and nothing else. Handlers hold no state.

mod request;

pub use request::{ControlRequest, Reply};
