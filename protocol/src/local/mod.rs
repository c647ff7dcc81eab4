//! Shim → coordinator: what a program did, told from inside it.
//!
//! Three places carry the language:
//!
//! 1. the **policy page** ([`PolicyPage`]), a file that the coordinator writes and every shim maps
//!    read-only: is anything of interest, where, and is the coordinator alive;
//! 2. the **local socket**, used once per process image: [`Hello`] goes up, [`Welcome`] comes back
//!    with two descriptors, the segment and the doorbell;
//! 3. the **segment** ([`segment`]), shared memory that the coordinator made, sized and sealed:
//!    two-phase slots for byte ranges, larger two-phase slots for names.
//!
//! Everything that a shim writes is untrusted: it can only say *where to look*.
//!
//! # Changing this
//! An old shim stays mapped in long-running programs after an upgrade. Any change of a layout or of
//! a message raises [`LOCAL_VERSION`], and the coordinator keeps reading the version before.

mod message;
mod policy;
pub mod segment;

pub use message::{
    FileModification, HELLO_BYTES_MAX, Hello, Inode, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, NameChange,
    Refusal, WELCOME_BYTES_MAX, Welcome, decode, encode,
};
pub use policy::{
    DURABLE_MS_MAX, HEARTBEAT_STALE_SECONDS, HOLD_MS_MAX, POLICY_BYTES, POLICY_DEVICES_MAX,
    POLICY_MAGIC, POLICY_ROOT_BYTES_MAX, POLICY_ROOTS_MAX, PolicyPage, PolicyRoot,
};

/// Version of every layout and message in this module.
///
/// - 1: first version.
pub const LOCAL_VERSION: u32 = 1;

/// File name of the policy page inside the run directory.
pub const POLICY_FILE_NAME: &str = "policy";
/// File name of the local socket inside the run directory.
pub const SOCKET_FILE_NAME: &str = "shim.sock";
/// A file of this name inside the run directory turns every shim off, without a coordinator.
pub const KILL_SWITCH_FILE_NAME: &str = "shim-off";
/// Run directory when [`RUN_DIRECTORY_VARIABLE`] is not set, or must not be believed.
pub const RUN_DIRECTORY_DEFAULT: &str = "/run/everwrite";
/// Environment variable that names the run directory. Ignored in programs that run with raised
/// rights (`AT_SECURE`, see `ld.so(8)`).
pub const RUN_DIRECTORY_VARIABLE: &str = "EVERWRITE_RUN";
/// Environment variable that turns the shim off in a program and its children when set to `1`.
pub const KILL_SWITCH_VARIABLE: &str = "EVERWRITE_OFF";
