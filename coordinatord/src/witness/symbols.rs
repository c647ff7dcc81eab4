//! Where the kernel's functions lie: `/proc/kallsyms`, proc_pid_kallsyms(5).

use std::ops::Range;

/// Addresses are there for who has CAP_SYSLOG, unless `kernel.kptr_restrict` is 2: then all are 0.
const SYMBOLS: &str = "/proc/kallsyms";

/// From the function's first byte to the next symbol. `None`: there is none, or nobody may know.
pub(super) fn extent_of(function: &str) -> Option<Range<u64>> {
    extent_in(&std::fs::read_to_string(SYMBOLS).ok()?, function)
}

fn extent_in(symbols: &str, function: &str) -> Option<Range<u64>> {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        words.nth(1).map(|name| (address, name == function))
    };
    let all = || symbols.lines().filter_map(of_line);
    let (start, _) = all().find(|(address, is_it)| *is_it && *address != 0)?;
    let end = all().map(|(address, _)| address).filter(|end| *end > start);
    Some(start..end.min()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let symbols = "ffffffff81001000 T other\nffffffff81003080 t last\n\
                       ffffffff81002000 T wanted\t[ext4]\nffffffff81002000 T alias\n\
                       ffffffff81002040 t next\t[ext4]\n";
        let wanted = 0xffff_ffff_8100_2000..0xffff_ffff_8100_2040;
        assert_eq!(extent_in(symbols, "wanted"), Some(wanted));
        assert_eq!(extent_in(symbols, "want"), None);
        assert_eq!(extent_in(symbols, "last"), None, "who knows where it ends");
        assert_eq!(
            extent_in(
                "0000000000000000 T wanted\n0000000000000000 T next",
                "wanted"
            ),
            None
        );
    }
}
