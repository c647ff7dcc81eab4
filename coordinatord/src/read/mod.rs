//! Reading what changed, into a batch.

mod content;
mod flush;
mod open;

pub use content::{ReadOutcome, Reader};
pub use flush::{IN_MEMORY, clean_pages, is_in_memory};
pub use open::{OpenContent, open_content};
