//! Reading what changed, into a batch.

mod content;
mod open;

pub use content::{ReadOutcome, Reader};
pub use open::{OpenContent, open_content};
