//! `--at TIME` and `@POINT` on the command line.

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::At;
use jiff::Zoned;

use crate::time_expression;

/// A moment, with the words it was given in.
#[derive(Clone, Debug)]
pub struct Moment {
    at: At,
    text: String,
}

impl Moment {
    /// What was asked for, or the newest recovery point.
    pub fn or_newest(moment: Option<Self>) -> At {
        moment.map_or(At::Newest, |moment| moment.at)
    }

    /// For a query.
    pub fn at(&self) -> At {
        self.at.clone()
    }

    /// For a restore: of points in time, those that the disk really had are preferred, unless `exact`.
    pub fn to_restore(&self, exact: bool) -> At {
        match self.at {
            At::Time(time) if !exact => At::Consistent(time),
            ref at => at.clone(),
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// For clap: any moment.
pub fn parse(text: &str) -> Result<Moment, String> {
    let at = time_expression::parse(text, &Zoned::now()).map_err(|error| error.to_string())?;
    Ok(Moment {
        at,
        text: text.to_owned(),
    })
}

/// For clap: a recovery point's number, `@17` or `17`.
pub fn parse_point(text: &str) -> Result<SequenceNumber, String> {
    let number = text.strip_prefix('@').unwrap_or(text).parse();
    number
        .map(SequenceNumber)
        .map_err(|_| "not the number of a recovery point, such as @17".to_owned())
}

/// Whether `text` would be taken for something else than a checkpoint's name.
pub fn is_time(text: &str) -> bool {
    !matches!(time_expression::parse(text, &Zoned::now()), Ok(At::Checkpoint(name)) if name == text)
}
