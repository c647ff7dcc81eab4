//! Values as people read them: sizes, times, spans, and paths that may hold any byte.

use everwrite_protocol::ids::Timestamp;
use everwrite_protocol::wire::{Kind, Origin};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

/// A path or name on one line of a terminal: control characters and bytes that are not UTF-8 as
/// `\xNN`, so that a name can neither break a listing nor send commands to the terminal.
pub fn path(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                _ if character.is_control() || is_reordering(character) => {
                    let mut utf8 = [0; 4];
                    escape(character.encode_utf8(&mut utf8).as_bytes(), &mut text);
                }
                _ => text.push(character),
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

fn escape(bytes: &[u8], text: &mut String) {
    bytes
        .iter()
        .for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
}

/// Characters that make a terminal show the rest of the line in another order.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes in units of 1024.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if scaled < 1023.95 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds in the unit that fits.
pub fn span_ms(span_ms: u64) -> String {
    match span_ms {
        0..1_000 => format!("{span_ms} ms"),
        1_000..60_000 => format!("{:.1} s", span_ms as f64 / 1e3),
        60_000..3_600_000 => format!("{} min {} s", span_ms / 60_000, span_ms / 1_000 % 60),
        3_600_000..86_400_000 => format!("{} h {} min", span_ms / 3_600_000, span_ms / 60_000 % 60),
        _ => format!("{} d {} h", span_ms / 86_400_000, span_ms / 3_600_000 % 24),
    }
}

/// How long ago `then` was, seen from `now`; clocks that disagree show as `just now`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    match u64::try_from(now.0.saturating_sub(then.0) / 1_000_000) {
        Ok(span) if span >= 1 => format!("{} ago", span_ms(span)),
        _ => "just now".to_owned(),
    }
}

/// Local time to the millisecond, with the offset, so that it can be given back as `--at`.
pub fn time(timestamp: Timestamp) -> String {
    let zoned = moment(timestamp).to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S.%3f%:z").to_string()
}

/// The same for the time of a recovery point, rounded up: given back as `--at`, it means that point
/// and not the one before.
pub fn cut_time(timestamp: Timestamp) -> String {
    const MILLISECOND: i64 = 1_000_000;
    let beyond = timestamp.0.rem_euclid(MILLISECOND);
    let up = if beyond == 0 { 0 } else { MILLISECOND - beyond };
    time(Timestamp(timestamp.0.saturating_add(up)))
}

/// RFC 3339 with all digits, for programs.
pub fn rfc3339(timestamp: Timestamp) -> String {
    moment(timestamp).to_string()
}

fn moment(timestamp: Timestamp) -> jiff::Timestamp {
    // The i64 nanoseconds of `Timestamp` span 1677 to 2262, well within jiff's years.
    jiff::Timestamp::from_nanosecond(i128::from(timestamp.0)).unwrap_or_default()
}

/// The wall clock.
pub fn now() -> Timestamp {
    let nanoseconds = jiff::Timestamp::now().as_nanosecond();
    Timestamp(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
}

/// `ls -l`'s first column.
pub fn mode(kind: Kind, mode: u32) -> String {
    let bit = |bit: u32, letter: char| if mode & bit != 0 { letter } else { '-' };
    let execute = |bit: u32, special: u32, both: char, alone: char| match (
        mode & bit != 0,
        mode & special != 0,
    ) {
        (true, true) => both,
        (false, true) => alone,
        (true, false) => 'x',
        (false, false) => '-',
    };
    [
        kind_letter(kind),
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        execute(0o100, 0o4000, 's', 'S'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        execute(0o010, 0o2000, 's', 'S'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        execute(0o001, 0o1000, 't', 'T'),
    ]
    .into_iter()
    .collect()
}

fn kind_letter(kind: Kind) -> char {
    match kind {
        Kind::Regular => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharacterDevice => 'c',
        Kind::BlockDevice => 'b',
    }
}

/// Kind of file, a word for programs.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Regular => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharacterDevice => "character device",
        Kind::BlockDevice => "block device",
    }
}

/// Who did it: program and pid, or that a scan found it.
pub fn origin(origin: &Origin) -> String {
    match origin.pid {
        0 => "found by a scan".to_owned(),
        pid => format!(
            "{}[{pid}] uid {}",
            path(origin.program.as_bytes()),
            origin.uid
        ),
    }
}

/// `30s`, `500ms`, `1h 30m`: a span on the command line, in milliseconds.
pub fn parse_span_ms(text: &str) -> Result<u64, String> {
    const EXAMPLES: &str = "a time with its unit, such as 500ms, 30s, 10m or 1h";
    let span: SignedDuration = text.parse().map_err(|_| format!("not {EXAMPLES}"))?;
    match u64::try_from(span.as_millis()) {
        Ok(milliseconds) if milliseconds > 0 => Ok(milliseconds),
        _ => Err(format!("must be {EXAMPLES}, at least 1ms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_do_no_harm_to_a_terminal() {
        let cases: [(&[u8], &str); 5] = [
            (b"plain/name", "plain/name"),
            ("größe".as_bytes(), "größe"),
            (b"a\xff\xfeb", "a\\xff\\xfeb"),
            (b"a\x1b[31m\n", "a\\x1b[31m\\x0a"),
            (b"a\\b", "a\\\\b"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(path(bytes), expected);
        }
        assert_eq!(path("x\u{202e}y".as_bytes()), "x\\xe2\\x80\\xaey");
    }

    #[test]
    fn sizes_counts_and_spans() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(1234567), "1,234,567");
        assert_eq!(span_ms(999), "999 ms");
        assert_eq!(span_ms(1_500), "1.5 s");
        assert_eq!(span_ms(61_000), "1 min 1 s");
        assert_eq!(span_ms(90_000_000), "1 d 1 h");
    }

    #[test]
    fn modes_look_as_in_ls() {
        assert_eq!(mode(Kind::Regular, 0o644), "-rw-r--r--");
        assert_eq!(mode(Kind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(Kind::Regular, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode(Kind::Fifo, 0o2600), "prw---S---");
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(parse_span_ms("30s"), Ok(30_000));
        assert_eq!(parse_span_ms("500ms"), Ok(500));
        assert_eq!(parse_span_ms("1h 30m"), Ok(5_400_000));
        for wrong in ["", "30", "-1s", "0s", "soon"] {
            assert!(parse_span_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_point_s_time_is_never_before_it() {
        assert!(cut_time(Timestamp(1)).contains("00.001"));
        assert!(cut_time(Timestamp(1_000_000)).contains("00.001"));
        assert!(cut_time(Timestamp(-1)).contains("00.000"));
    }

    #[test]
    fn times_of_programs_are_rfc_3339() {
        assert_eq!(
            rfc3339(Timestamp(1_000_000_001)),
            "1970-01-01T00:00:01.000000001Z"
        );
        assert_eq!(ago(Timestamp(0), Timestamp(5_000_000_000)), "5.0 s ago");
        assert_eq!(ago(Timestamp(9), Timestamp(5)), "just now");
    }
}
