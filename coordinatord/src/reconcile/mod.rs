//! Reconcile: the truth. Disk and index are compared after every gap, and now and then without one.
//!
//! A scan is nothing but listings in the queue, deep ones from each root's top; so live changes go
//! before it, it is paced with everything else, and its memory is the frontier of directories, not
//! the tree. Names that it finds missing wait until its end: by then the file may have been found
//! under another name, and is moved instead of sent again.

mod brake;
mod scan;

pub use brake::{RootFacts, RootVerdict, judge_root};
pub use scan::{Scan, ScanReason};
