//! How commands answer, those of the source and those of the destination: exit codes, values as
//! people read them, records as programs do.

pub mod exit;
pub mod moment;
pub mod output;
pub mod records;
pub mod restored;
pub mod shown;
pub mod versions;
