//! Does the file system still do what POSIX says, and give back what was written to it?

use harness::text;

use crate::ground::{Ground, at_length, find};

const PJDFSTEST: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// Several hundred small cases, each with an answer of its own.
#[test]
fn pjdfstest() {
    let Some(program) = find("pjdfstest", "pjdfstest") else {
        return;
    };
    let ground = Ground::new();
    let settings = ground.path().join("pjdfstest.toml");
    std::fs::write(&settings, PJDFSTEST).expect("write the settings");
    let [bare, ours] = ground.both(&format!("{program} -c {} -p .", settings.display()));
    let answers = |said: &[u8]| {
        let mut lines: Vec<String> = text(said).lines().map(str::to_owned).collect();
        // It runs them in any order.
        lines.sort();
        lines
    };
    assert!(text(&bare.stdout).contains(" passed"), "{bare:?}");
    assert_eq!(answers(&bare.stdout), answers(&ours.stdout));
    assert_eq!(bare.code, ours.code);
    ground.assert_stored();
}

const FSX: &str = "
flen = 1000000
[opsize]
max = 40000
[weights]
close_open = 2
read = 5
write = 10
mapread = 2
mapwrite = 5
invalidate = 1
truncate = 3
fsync = 1
fdatasync = 1
posix_fallocate = 2
punch_hole = 3
sendfile = 2
posix_fadvise = 1
copy_file_range = 4
";

/// Every kind of write into a file, whose content it always knows: it stops at the first byte that is not
/// what it wrote.
#[test]
fn fsx() {
    let Some(program) = find("fsx", "fsx") else {
        return;
    };
    let ground = Ground::new();
    let settings = ground.path().join("fsx.toml");
    std::fs::write(&settings, FSX).expect("write the settings");
    let (rounds, operations) = if at_length() {
        (20, 50_000)
    } else {
        (4, 4_000)
    };
    for round in 0..rounds {
        let seed = ground.seed().next() >> 32;
        let settings = settings.display();
        let script = format!("{program} -q -f {settings} -N {operations} -S {seed} file-{round}");
        ground.both_succeed(&script);
        let [bare, ours] = [ground.bare(), ground.tree()]
            .map(|top| std::fs::read(top.join(format!("file-{round}"))).expect("what it left"));
        assert!(
            bare == ours,
            "the same operations gave another file: -S {seed}"
        );
        assert!(!ours.is_empty());
    }
    ground.assert_stored();
}
