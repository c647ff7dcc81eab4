//! Moments as people write them: `--at TIME` of every command.
//!
//! | text | means |
//! |---|---|
//! | `2026-03-29T14:00:00Z`, `2026-03-29 14:00:00.5+02:00` | RFC 3339, the T may be a space |
//! | `2026-03-29 14:00`, `2026-03-29` | local time; a day alone: its first moment |
//! | `14:00`, `today 14:00`, `yesterday 14:00` | local time |
//! | `yesterday` | this time yesterday |
//! | `10m ago`, `2 hours ago`, `1d 3h ago` | by the calendar: a day ago is this time yesterday |
//! | `now`, `newest` | the newest recovery point |
//! | `@17` | recovery point 17 |
//! | anything else | the checkpoint of that name |

use everwrite_protocol::ids::{SequenceNumber, Timestamp};
use everwrite_protocol::wire::At;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Zoned};

/// A text that can't be any moment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no time; write 2026-03-29T14:00:00Z, `10m ago`, `yesterday 14:00`, @POINT or a checkpoint's name"
)]
pub struct InvalidTime(String);

/// The moment that `text` means, as of `now`, whose zone is the local one.
pub fn parse(text: &str, now: &Zoned) -> Result<At, InvalidTime> {
    let invalid = || InvalidTime(text.to_owned());
    let text = text.trim();
    if let Some(number) = text.strip_prefix('@') {
        let number = number.parse().map_err(|_| invalid())?;
        return Ok(At::Sequence(SequenceNumber(number)));
    }
    match text {
        "" => Err(invalid()),
        "now" | "newest" => Ok(At::Newest),
        _ => match time(text, now) {
            Some(Some(time)) => Ok(At::Time(time)),
            Some(None) => Err(invalid()),
            None => Ok(At::Checkpoint(text.to_owned())),
        },
    }
}

/// `None`: not written as a time. `Some(None)`: written as one, but beyond what can be told.
fn time(text: &str, now: &Zoned) -> Option<Option<Timestamp>> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp(instant));
    }
    let zoned = civil(text, now).or_else(|| ago(text, now))?;
    Some(zoned.and_then(|zoned| timestamp(zoned.timestamp())))
}

/// A local date, a time of day, or both.
fn civil(text: &str, now: &Zoned) -> Option<Option<Zoned>> {
    let local = |moment: DateTime| Some(moment.to_zoned(now.time_zone().clone()).ok());
    let (day, clock) = match text.split_once(' ') {
        Some((day, clock)) => (day, Some(clock.trim())),
        None => (text, None),
    };
    let time_of_day = match clock {
        Some(clock) => Some(clock.parse::<Time>().ok()?),
        None => None,
    };
    match (day, time_of_day) {
        ("today", Some(time)) => local(now.date().to_datetime(time)),
        ("yesterday", time) => {
            let time = time.unwrap_or_else(|| now.time());
            local(now.date().yesterday().ok()?.to_datetime(time))
        }
        (day, None) if day.contains('T') => local(day.parse().ok()?),
        (day, None) if day.contains(':') => local(now.date().to_datetime(day.parse().ok()?)),
        (day, time) => local(
            day.parse::<Date>()
                .ok()?
                .to_datetime(time.unwrap_or_default()),
        ),
    }
}

/// A span before now.
fn ago(text: &str, now: &Zoned) -> Option<Option<Zoned>> {
    let span = text.strip_suffix(" ago")?.trim().parse::<Span>().ok();
    Some(span.and_then(|span| now.checked_sub(span).ok()))
}

fn timestamp(instant: jiff::Timestamp) -> Option<Timestamp> {
    i64::try_from(instant.as_nanosecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<String> {
        // Two days after the hour that Berlin leaves out in spring.
        let now: Zoned = "2026-03-31T12:30:00+02:00[Europe/Berlin]".parse().unwrap();
        match parse(text, &now).ok()? {
            At::Time(Timestamp(time)) => Some(
                jiff::Timestamp::from_nanosecond(time.into())
                    .unwrap()
                    .to_string(),
            ),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn every_form_means_what_the_table_says() {
        let cases = [
            ("2026-03-29T14:00:00Z", "2026-03-29T14:00:00Z"),
            ("2026-03-29 14:00:00.5+02:00", "2026-03-29T12:00:00.5Z"),
            ("2026-03-29 14:00", "2026-03-29T12:00:00Z"),
            ("2026-03-29T14:00:05", "2026-03-29T12:00:05Z"),
            ("2026-03-28", "2026-03-27T23:00:00Z"),
            ("11:15", "2026-03-31T09:15:00Z"),
            ("11:15:07", "2026-03-31T09:15:07Z"),
            ("today 00:30", "2026-03-30T22:30:00Z"),
            ("yesterday 14:00", "2026-03-30T12:00:00Z"),
            ("yesterday", "2026-03-30T10:30:00Z"),
            ("10m ago", "2026-03-31T10:20:00Z"),
            ("2 hours ago", "2026-03-31T08:30:00Z"),
            ("1h30m ago", "2026-03-31T09:00:00Z"),
            ("500ms ago", "2026-03-31T10:29:59.5Z"),
            ("3 days ago", "2026-03-28T11:30:00Z"),
            ("1d 3h ago", "2026-03-30T07:30:00Z"),
            (" @17 ", "Sequence(SequenceNumber(17))"),
            ("now", "Newest"),
            ("newest", "Newest"),
            ("before-upgrade", "Checkpoint(\"before-upgrade\")"),
            ("v1.2", "Checkpoint(\"v1.2\")"),
            ("chicago", "Checkpoint(\"chicago\")"),
        ];
        for (text, expected) in cases {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_can_be_no_moment_is_refused() {
        for text in ["", "  ", "@", "@x", "@-1", "99999 years ago", "long ago"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
