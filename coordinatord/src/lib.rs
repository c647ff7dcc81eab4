//! The source of Everwrite: the coordinator daemon and the command line.
//!
//! In the order in which a change passes through:
//!
//! - [`intake`] hears what the shims say, and makes hints of it; [`witness`] hears what the kernel says;
//! - [`front`] is the daemon's loop: hints and requests go on to the pipelines, one per receiver;
//! - [`queue`] is where a change waits; [`schedule`] decides when it is taken in and when it is
//!   turned into backup commands;
//! - [`round`] makes a batch: it looks at the file system ([`look`]) and at the [`index`], reads
//!   what changed ([`mod@read`]), compares what is not known to have changed ([`delta`]) and gathers
//!   commands ([`batch`]);
//! - [`network_backup`] sends batches and hears what is stored;
//! - [`account`] keeps count of who told of what, of what was missed, and of disasters;
//! - [`pipeline`] is the loop around all this for one receiver, [`reconcile`] the net below it;
//! - [`run`] starts it all; [`control`] serves the API; [`cli`] is the command line; [`config`] and
//!   [`exclude`] hold what people have decided.

pub mod account;
pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod delta;
pub mod exclude;
pub mod front;
pub mod index;
pub mod intake;
pub mod look;
mod mounts;
pub mod network_backup;
pub mod pipeline;
pub mod queue;
pub mod ranges;
pub mod read;
pub mod reconcile;
pub mod round;
pub mod run;
pub mod schedule;
pub mod witness;
