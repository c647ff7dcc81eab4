//! The languages of Everwrite, in the order in which a change passes through them.
//!
//! - [`local`]: shim → coordinator. Shared-memory layouts and the bincode messages of the local
//!   socket; `no_std`, without allocation, so that it can live inside other people's programs.
//! - [`wire`]: coordinator ↔ receiver. Framed, versioned, every length limited before it is
//!   believed; payload bytes travel beside the encoded part, never inside it.
//! - [`control`]: daemon ↔ command line. Plain structures, JSON.
//!
//! Nothing here does input or output.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

pub mod local;

#[cfg(feature = "std")]
pub mod codec;
#[cfg(feature = "std")]
pub mod control;
#[cfg(feature = "std")]
pub mod ids;
#[cfg(feature = "std")]
pub mod wire;
