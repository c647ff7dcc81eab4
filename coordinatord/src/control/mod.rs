//! The API of the daemon: HTTP and JSON under `/api/v1`, on a Unix socket that only its owner can open.
//!
//! The command line and every other front end use this and nothing else. A handler turns a request
//! into a [`ControlRequest`] for the coordinator's loop and waits for the reply; it holds no state.

mod client;
mod handlers;
mod request;
mod server;

pub use client::{ClientError, ControlClient};
pub use request::{ControlRequest, Reply};
pub use server::{ControlServer, ServeError};

#[cfg(test)]
mod tests;
