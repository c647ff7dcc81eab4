//! Tables of configurations: what is taken, what is refused and how it is said, what a change leaves.

use std::path::Path;

use everwrite_protocol::control::{PairRequest, PathText, ProtectRequest, Switch};
use everwrite_protocol::ids::Timestamp;

use super::*;

const EXAMPLE: &str = include_str!("example.toml");
const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/c.toml"))
}

fn two_receivers() -> String {
    format!(
        "[[receivers]]\nname = 'a'\naddress = 'h:1'\nfingerprint = '{FINGERPRINT}'\n\
         [[receivers]]\nname = 'd'\ndirectory = '/store'\n"
    )
}

fn root(name: &str, path: &str, to: &str) -> String {
    format!("[[roots]]\nname = '{name}'\npath = '{path}'\nto = '{to}'\n")
}

fn protect(path: &str, to: Option<&str>) -> ProtectRequest {
    let path = PathText::Text(path.to_owned());
    ProtectRequest {
        path,
        name: None,
        to: to.map(str::to_owned),
        rpo_ms: None,
        durable_fsync: false,
    }
}

fn pair(name: Option<&str>, address: &str) -> PairRequest {
    PairRequest {
        name: name.map(str::to_owned),
        address: address.to_owned(),
        fingerprint: FINGERPRINT.to_owned(),
    }
}

#[test]
fn the_example_shows_the_defaults() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.schedule, Schedule::default());
    assert_eq!(config.scan, Scan::default());
    assert_eq!(config.brakes, Brakes::default());
    assert_eq!(config.cuts, Cuts::default());
    assert_eq!(config.durable_fsync, DurableSettings::default());
    assert_eq!(config.durable_fsync(), None, "no root asks for it");
    assert_eq!(config.receivers.len(), 2);
    assert_eq!(config.root("home").unwrap().rpo_ms, RPO_MS_DEFAULT);
    assert_eq!(config.root("home").unwrap().exclude, ["/.cache/"]);
}

#[test]
fn an_empty_file_is_a_configuration() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn what_is_wrong_is_said() {
    let cases = [
        ("speed = 1".to_owned(), "unknown field `speed`"),
        ("exclude = 1".to_owned(), "invalid type"),
        (
            "[[receivers]]\nname = 'a'\naddress = 'h:1'".to_owned(),
            "needs either",
        ),
        (
            "[[receivers]]\nname = 'a'\naddress = 'h'\nfingerprint = ''".to_owned(),
            "HOST:PORT",
        ),
        (
            "[[receivers]]\nname = 'a'\naddress = 'h:1'\nfingerprint = 'x'".to_owned(),
            "64 hexadecimal",
        ),
        (
            "[[receivers]]\nname = 'a/b'\ndirectory = '/s'".to_owned(),
            "slash",
        ),
        (
            "[[receivers]]\nname = 'a'\ndirectory = 's'".to_owned(),
            "absolute",
        ),
        (root("r", "/x", "a"), "no receiver that is paired"),
        (
            two_receivers() + &root("r", "/x/../y", "a"),
            "absolute path",
        ),
        (two_receivers() + &root("r:s", "/x", "a"), "colon"),
        (
            two_receivers() + &root("r", "/x", "a") + &root("r", "/y", "a"),
            "exists already",
        ),
        (
            two_receivers() + &root("r", "/x", "a") + &root("s", "/x/y", "a"),
            "overlaps root",
        ),
        (
            two_receivers() + &root("r", "/store/x", "d"),
            "lies in the store",
        ),
        ("exclude = ['a{b']".to_owned(), "exclude pattern"),
        (
            "[brakes]\nburst_percent = 100".to_owned(),
            "burst_percent is 100; it must be 0 to 99",
        ),
        ("[brakes]\nburst_s = 0".to_owned(), "burst_s is 0"),
        (
            "[cuts]\nhold_ms_max = 1001".to_owned(),
            "cuts.hold_ms_max is 1001; it must be 0 to 1000",
        ),
        ("[cuts]\ninterval_ms = 0".to_owned(), "interval_ms is 0"),
        (
            "[durable_fsync]\ntimeout_ms = 0".to_owned(),
            "durable_fsync.timeout_ms is 0; it must be 1 to 60000",
        ),
        (
            "[durable_fsync]\non_timeout = 'wait'".to_owned(),
            "unknown variant `wait`",
        ),
        (
            "[schedule]\ninterval_ms_min = 9\ninterval_ms_max = 8".to_owned(),
            "interval_ms_min is 9",
        ),
        (
            "[schedule]\ninterval_ms_max = 60001".to_owned(),
            "at most 60000",
        ),
    ];
    for (text, expected) in cases {
        let error = parse(&text).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("/c.toml"),
            "{text}\n→ {error}"
        );
    }
}

#[test]
fn one_path_may_go_to_two_receivers() {
    let text = two_receivers() + &root("r", "/x", "a") + &root("s", "/x", "d");
    assert_eq!(parse(&text).unwrap().roots.len(), 2);
}

#[test]
fn pairing_names_the_receiver_after_its_host() {
    let mut config = Config::default();
    assert_eq!(
        config.pair(&pair(None, "backup.lan:7411")).unwrap().name,
        "backup.lan"
    );
    assert_eq!(
        config.pair(&pair(None, "[::1]:7411")).unwrap().name,
        "backup.lan",
        "same certificate"
    );
    assert_eq!(config.receivers.len(), 1);
    assert_eq!(config.receivers[0].place.to_string(), "[::1]:7411");
}

#[test]
fn pairing_again_under_a_name_replaces_the_certificate() {
    let mut config = parse(&two_receivers()).unwrap();
    let other = PairRequest {
        fingerprint: FINGERPRINT.replace('0', "1"),
        ..pair(Some("a"), "h:2")
    };
    config.pair(&other).unwrap();
    assert_eq!(config.receivers.len(), 2);
    assert_eq!(config.receiver("a").unwrap().place.to_string(), "h:2");
    assert!(
        config.pair(&pair(Some("d"), "h:3")).is_err(),
        "a directory is not replaced"
    );
}

#[test]
fn protecting_chooses_receiver_and_name() {
    let mut config = Config::default();
    assert_eq!(
        config.protect(&protect("/x", None)),
        Err(Problem::NothingPaired)
    );
    config.pair(&pair(Some("a"), "h:1")).unwrap();
    let first = config.protect(&protect("/home/ann", None)).unwrap();
    assert_eq!((first.name.as_str(), first.to.as_str()), ("ann", "a"));
    assert_eq!(
        config.protect(&protect("/mnt/ann", None)).unwrap().name,
        "ann-2"
    );
    let embedded = config
        .protect(&protect("/srv", Some("dir:/mnt/disk")))
        .unwrap();
    assert_eq!(
        (embedded.name.as_str(), embedded.to.as_str()),
        ("srv", "disk")
    );
    assert!(matches!(
        config.protect(&protect("/etc", None)),
        Err(Problem::WhichReceiver(_))
    ));
    assert_eq!(
        config
            .protect(&protect("/etc", Some("dir:/mnt/disk")))
            .unwrap()
            .to,
        "disk"
    );
    assert!(matches!(
        config.protect(&protect("/", Some("a"))),
        Err(Problem::Overlap { .. })
    ));
}

#[test]
fn a_refused_root_leaves_no_receiver_behind() {
    let mut config = Config::default();
    config
        .protect(&protect("/store/x", Some("dir:/store")))
        .unwrap_err();
    assert_eq!(config, Config::default());
}

#[test]
fn saving_keeps_what_people_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, EXAMPLE).unwrap();
    let mut config = Config::load(&file).unwrap();
    config.protect(&protect("/srv", Some("disk"))).unwrap();
    config.save(&file).unwrap();
    assert_eq!(Config::load(&file).unwrap(), config);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# Everwrite, source side."), "{text}");
    assert!(
        text.contains("# The promise") && text.contains("exclude = [\"/.cache/\"]"),
        "{text}"
    );

    config.unprotect("home").unwrap();
    config.unprotect("srv").unwrap();
    config.save(&file).unwrap();
    assert_eq!(Config::load(&file).unwrap(), config);
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_path_that_is_not_text_survives_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let mut config = parse(&two_receivers()).unwrap();
    let path = PathText::from_bytes(b"/x/\xff");
    config
        .protect(&ProtectRequest {
            path,
            ..protect("", Some("a"))
        })
        .unwrap();
    config.save(&file).unwrap();
    assert_eq!(Config::load(&file).unwrap(), config);
    assert_eq!(config.roots[0].name, "_");
}

#[test]
fn the_innermost_root_holds_a_path() {
    let text = two_receivers() + &root("r", "/x", "a") + &root("s", "/x/y", "d");
    let config = parse(&text).unwrap();
    let holder = |path: &str| {
        config
            .root_of(Path::new(path))
            .map(|root| root.name.as_str())
    };
    assert_eq!(holder("/x/y/z"), Some("s"));
    assert_eq!(holder("/x/yz"), Some("r"));
    assert_eq!(holder("/xy"), None);
}

#[test]
fn the_switch_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("switch.toml");
    assert_eq!(
        SwitchState::load(&file, Timestamp(7)).unwrap(),
        SwitchState::on(Timestamp(7))
    );
    let off = SwitchState {
        switch: Switch::Off,
        since: Timestamp(8),
        resumes_at: Some(Timestamp(9)),
    };
    off.save(&file).unwrap();
    assert_eq!(SwitchState::load(&file, Timestamp(10)).unwrap(), off);
}

#[test]
fn a_destination_directory_becomes_absolute() {
    assert_eq!(absolute_destination("dir:s", Path::new("/h")), "dir:/h/s");
    assert_eq!(
        absolute_destination("dir:./s/", Path::new("/h")),
        "dir:/h/s"
    );
    assert_eq!(absolute_destination("dir:/s", Path::new("/h")), "dir:/s");
    assert_eq!(absolute_destination("attic", Path::new("/h")), "attic");
}
