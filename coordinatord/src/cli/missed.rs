//! The miss rate, for people.

use everwrite_protocol::control::{Changes, Lately};

use super::shown;

/// Of the last hour and the last day.
pub(super) fn line(lately: &Lately) -> String {
    let (hour, day) = (share(&lately.hour), share(&lately.day));
    format!("missed: {hour} in the last hour, {day} in the last day")
}

fn share(changes: &Changes) -> String {
    let (missed, all) = (shown::count(changes.missed), shown::count(changes.all()));
    match (changes.missed, changes.all()) {
        (_, 0) => "no changes".to_owned(),
        (0, _) => format!("none of {all} changes"),
        (some, of) => format!("{missed} of {all} changes ({})", percent(some, of)),
    }
}

/// Never rounded down to nothing, nor up to all.
fn percent(some: u64, of: u64) -> String {
    let percent = some as f64 * 100.0 / of as f64;
    match percent {
        tiny if tiny < 0.01 => "< 0.01 %".to_owned(),
        small if small < 1.0 => format!("{small:.2} %"),
        _ if some == of => "100 %".to_owned(),
        percent => format!("{:.1} %", percent.min(99.9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_never_rounded_away() {
        let share = |missed, shim| {
            share(&Changes {
                shim,
                missed,
                ..Changes::default()
            })
        };
        let cases = [
            (0, 0, "no changes"),
            (0, 1234, "none of 1,234 changes"),
            (1, 1_000_000, "1 of 1,000,001 changes (< 0.01 %)"),
            (1, 999, "1 of 1,000 changes (0.10 %)"),
            (9_999, 1, "9,999 of 10,000 changes (99.9 %)"),
            (3, 0, "3 of 3 changes (100 %)"),
        ];
        for (missed, shim, expected) in cases {
            assert_eq!(share(missed, shim), expected);
        }
    }
}
