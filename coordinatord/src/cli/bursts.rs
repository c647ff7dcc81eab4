//! A burst of deleted or overwritten files, for people.

use everwrite_protocol::control::Burst;
use everwrite_protocol::ids::Timestamp;

use super::shown;

/// Who did what, and where to go back to.
pub(super) fn lines(burst: &Burst, now: Timestamp) -> String {
    let lost = burst.removed + burst.overwritten;
    format!(
        "BURST in {}, {} ({}): {} deleted {} and overwrote {} files: {} of {}\n  {}",
        burst.root,
        shown::time(burst.at),
        shown::ago(burst.at, now),
        who(burst),
        shown::count(burst.removed),
        shown::count(burst.overwritten),
        shown::count(lost),
        shown::count(burst.files_before),
        way_back(burst)
    )
}

fn who(burst: &Burst) -> String {
    match (burst.pid, burst.executable.as_str()) {
        (0, _) => "a program that nobody saw".to_owned(),
        (pid, "") => format!("{} (pid {pid}, user {})", burst.program, burst.uid),
        (pid, executable) => format!(
            "{} ({}, pid {pid}, user {})",
            burst.program,
            shown::path(executable.as_bytes()),
            burst.uid
        ),
    }
}

fn way_back(burst: &Burst) -> String {
    match burst.point {
        Some(point) => format!(
            "all is as before in recovery point @{0} of {1}: `everwrite restore PATH --at @{0}`; \
             `everwrite acknowledge` when it was meant",
            point.0, burst.receiver
        ),
        None => "nothing had been stored before it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::SequenceNumber;

    use super::*;

    #[test]
    fn people_see_who_it_was_and_where_to_go_back_to() {
        let mut burst = Burst {
            id: 1,
            at: Timestamp(0),
            root: "home".to_owned(),
            receiver: "attic".to_owned(),
            program: "rm".to_owned(),
            executable: "/bin/rm".to_owned(),
            pid: 77,
            uid: 5,
            removed: 1200,
            overwritten: 34,
            files_before: 2000,
            point: Some(SequenceNumber(9)),
            acknowledged: false,
        };
        let text = lines(&burst, Timestamp(1));
        for part in [
            "home",
            "rm (/bin/rm, pid 77, user 5)",
            "1,200",
            "34",
            "--at @9",
            "attic",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        (burst.pid, burst.point) = (0, None);
        let text = lines(&burst, Timestamp(1));
        assert!(
            text.contains("nobody saw") && text.contains("nothing had been stored"),
            "{text}"
        );
    }
}
