//! Raw → checked. Every rule that a configuration must keep is here, so that nothing else checks.

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use everwrite_protocol::control::PathText;
use everwrite_protocol::ids::{InvalidName, Name};
use everwrite_protocol::local::{DURABLE_MS_MAX, HOLD_MS_MAX};
use everwrite_protocol::wire::{FINGERPRINT_BYTES, Fingerprint};
use ignore::gitignore::GitignoreBuilder;

use super::checked::{
    Brakes, Config, Cuts, DurableSettings, Place, RPO_MS_DEFAULT, RPO_MS_MIN, Receiver, Root, Scan,
    Schedule,
};
use super::problem::Problem;
use super::raw::{
    OnTimeout, RawBrakes, RawConfig, RawCuts, RawDurableFsync, RawReceiver, RawRoot, RawScan,
    RawSchedule, RawWitness,
};
use crate::witness;

/// Longest interval that can be asked for, milliseconds.
const INTERVAL_MS_LIMIT: u64 = 60_000;
/// Smallest and largest ring of events, KiB.
const RING_KIB_LIMITS: RangeInclusive<u64> = 4..=1 << 20;

impl TryFrom<RawConfig> for Config {
    type Error = Problem;

    fn try_from(raw: RawConfig) -> Result<Self, Problem> {
        let mut config = Self {
            schedule: schedule(raw.schedule)?,
            scan: scan(raw.scan),
            witness: witness(raw.witness)?,
            brakes: brakes(raw.brakes)?,
            cuts: cuts(raw.cuts)?,
            durable_fsync: durable_fsync(raw.durable_fsync)?,
            exclude: patterns(raw.exclude)?,
            ..Self::default()
        };
        for raw in raw.receivers {
            let receiver = receiver(raw)?;
            config.check_receiver(&receiver)?;
            config.receivers.push(receiver);
        }
        for raw in raw.roots {
            let root = root(raw)?;
            config.check_root(&root)?;
            config.roots.push(root);
        }
        Ok(config)
    }
}

impl Config {
    /// Whether `receiver` may join those that are there.
    pub(super) fn check_receiver(&self, receiver: &Receiver) -> Result<(), Problem> {
        check_name("receiver", &receiver.name)?;
        match self.receiver(&receiver.name) {
            Some(_) => Err(Problem::Duplicate {
                what: "receiver",
                name: receiver.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Whether `root` may join those that are there.
    pub(super) fn check_root(&self, root: &Root) -> Result<(), Problem> {
        check_name("root", &root.name)?;
        check_path(&root.path)?;
        check_rpo(root.rpo_ms)?;
        if self.root(&root.name).is_some() {
            return Err(Problem::Duplicate {
                what: "root",
                name: root.name.clone(),
            });
        }
        let Some(receiver) = self.receiver(&root.to) else {
            return Err(Problem::NoReceiver {
                root: root.name.clone(),
                to: root.to.clone(),
            });
        };
        check_outside_store(root, receiver)?;
        self.check_overlap(root)
    }

    fn check_overlap(&self, root: &Root) -> Result<(), Problem> {
        let overlaps = |other: &&Root| {
            other.to == root.to
                && (other.path.starts_with(&root.path) || root.path.starts_with(&other.path))
        };
        match self.roots.iter().find(overlaps) {
            Some(other) => Err(Problem::Overlap {
                path: root.path.clone(),
                root: other.name.clone(),
                root_path: other.path.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// A name is a plain file name, shown to people and typed by them as `ROOT:path`.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), Problem> {
    let cause = match Name::new(name) {
        Err(InvalidName::Empty) => "it is empty",
        Err(InvalidName::Dots) => "`.` and `..` are not names",
        Err(InvalidName::TooLong) => "it has more than 255 bytes",
        Err(InvalidName::Separator) => "it has a slash or a NUL in it",
        Ok(_) if name.contains(':') => "it has a colon in it",
        Ok(_) if name.contains(char::is_control) => "it has a control character in it",
        Ok(_) if name.starts_with('-') => "it begins with a dash",
        Ok(_) => return Ok(()),
    };
    Err(Problem::Name {
        what,
        name: name.to_owned(),
        cause,
    })
}

/// Absolute, and each component a name.
pub(super) fn check_path(path: &Path) -> Result<(), Problem> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    match path.is_absolute() && path.components().all(plain) {
        true => Ok(()),
        false => Err(Problem::Path(path.to_owned())),
    }
}

/// `HOST:PORT` with a port in range; IPv6 in brackets.
pub(super) fn check_address(address: &str) -> Result<(), Problem> {
    let parts = address.rsplit_once(':');
    let good = parts.is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let named = !host.is_empty() && (bracketed || !host.contains(':'));
        named
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    good.then_some(())
        .ok_or_else(|| Problem::Address(address.to_owned()))
}

/// 64 hexadecimal digits.
pub(super) fn parse_fingerprint(receiver: &str, text: &str) -> Result<Fingerprint, Problem> {
    let bytes = PathText::Bytes {
        hex: text.to_owned(),
    }
    .to_bytes();
    let exact = bytes.and_then(|bytes| <[u8; FINGERPRINT_BYTES]>::try_from(bytes).ok());
    exact.ok_or_else(|| Problem::Fingerprint(receiver.to_owned()))
}

/// Text or bytes to a path.
pub(super) fn parse_path(text: &PathText) -> Result<PathBuf, Problem> {
    let bytes = text.to_bytes().ok_or(Problem::Hex)?;
    let path =
        PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
    check_path(&path)?;
    Ok(path)
}

fn check_rpo(rpo_ms: u64) -> Result<(), Problem> {
    match rpo_ms >= RPO_MS_MIN {
        true => Ok(()),
        false => Err(Problem::Range {
            key: "rpo_ms",
            value: rpo_ms,
            range: "at least 10",
        }),
    }
}

fn check_outside_store(root: &Root, receiver: &Receiver) -> Result<(), Problem> {
    match &receiver.place {
        Place::Directory(store) if root.path.starts_with(store) => Err(Problem::InsideStore {
            root: root.path.clone(),
            store: store.clone(),
        }),
        _ => Ok(()),
    }
}

fn receiver(raw: RawReceiver) -> Result<Receiver, Problem> {
    let place = match (raw.address, raw.fingerprint, raw.directory) {
        (Some(address), Some(fingerprint), None) => {
            check_address(&address)?;
            Place::Network {
                address,
                fingerprint: parse_fingerprint(&raw.name, &fingerprint)?,
            }
        }
        (None, None, Some(directory)) => Place::Directory(parse_path(&directory)?),
        _ => return Err(Problem::Place(raw.name)),
    };
    Ok(Receiver {
        name: raw.name,
        place,
    })
}

fn root(raw: RawRoot) -> Result<Root, Problem> {
    Ok(Root {
        path: parse_path(&raw.path)?,
        name: raw.name,
        to: raw.to,
        rpo_ms: raw.rpo_ms.unwrap_or(RPO_MS_DEFAULT),
        durable_fsync: raw.durable_fsync,
        exclude: patterns(raw.exclude)?,
    })
}

fn patterns(patterns: Vec<String>) -> Result<Vec<String>, Problem> {
    let mut builder = GitignoreBuilder::new("/");
    for pattern in &patterns {
        builder
            .add_line(None, pattern)
            .map_err(|error| Problem::Pattern {
                pattern: pattern.clone(),
                cause: error.to_string(),
            })?;
    }
    Ok(patterns)
}

fn schedule(raw: RawSchedule) -> Result<Schedule, Problem> {
    let default = Schedule::default();
    let interval_ms_min = raw.interval_ms_min.unwrap_or(default.interval_ms_min);
    let interval_ms_max = raw
        .interval_ms_max
        .unwrap_or_else(|| default.interval_ms_max.max(interval_ms_min));
    let out_of_range = |key, value, range| Err(Problem::Range { key, value, range });
    if interval_ms_max > INTERVAL_MS_LIMIT {
        return out_of_range("interval_ms_max", interval_ms_max, "at most 60000");
    }
    if interval_ms_min > interval_ms_max {
        return out_of_range(
            "interval_ms_min",
            interval_ms_min,
            "at most interval_ms_max",
        );
    }
    Ok(Schedule {
        interval_ms_min,
        interval_ms_max,
    })
}

fn scan(raw: RawScan) -> Scan {
    let default = Scan::default();
    Scan {
        interval_s: raw.interval_s.unwrap_or(default.interval_s),
    }
}

fn witness(raw: RawWitness) -> Result<witness::Settings, Problem> {
    let default = witness::Settings::default();
    let ring_kib = raw
        .ring_kib
        .unwrap_or_else(|| u64::from(default.ring_bytes) >> 10);
    if !RING_KIB_LIMITS.contains(&ring_kib) || !ring_kib.is_power_of_two() {
        return Err(Problem::Range {
            key: "witness.ring_kib",
            value: ring_kib,
            range: "a power of two between 4 and 1048576",
        });
    }
    Ok(witness::Settings {
        enabled: raw.enabled.unwrap_or(default.enabled),
        ebpf: raw.ebpf.unwrap_or(default.ebpf),
        calls: raw.calls.unwrap_or(default.calls),
        ring_bytes: (ring_kib << 10) as u32,
    })
}

fn brakes(raw: RawBrakes) -> Result<Brakes, Problem> {
    let default = Brakes::default();
    let (percent, seconds) = (raw.burst_percent, raw.burst_s);
    let percent = percent.unwrap_or(default.burst_percent);
    let seconds = seconds.unwrap_or(default.burst_s);
    Ok(Brakes {
        burst_files: raw.burst_files.unwrap_or(default.burst_files),
        burst_percent: within("burst_percent", percent, 0..=99, "0 to 99")?,
        burst_s: within("burst_s", seconds, 1..=3600, "1 to 3600")?,
    })
}

fn cuts(raw: RawCuts) -> Result<Cuts, Problem> {
    let default = Cuts::default();
    let interval = raw.interval_ms.unwrap_or(default.interval_ms);
    let hold = raw.hold_ms_max.unwrap_or(default.hold_ms_max);
    Ok(Cuts {
        interval_ms: within(
            "cuts.interval_ms",
            interval,
            1..=INTERVAL_MS_LIMIT,
            "1 to 60000",
        )?,
        hold_ms_max: within("cuts.hold_ms_max", hold, 0..=HOLD_MS_MAX, "0 to 1000")?,
    })
}

fn durable_fsync(raw: RawDurableFsync) -> Result<DurableSettings, Problem> {
    let default = DurableSettings::default();
    let (key, range) = ("durable_fsync.timeout_ms", 1..=DURABLE_MS_MAX);
    let timeout = raw.timeout_ms.unwrap_or(default.timeout_ms);
    Ok(DurableSettings {
        timeout_ms: within(key, timeout, range, "1 to 60000")?,
        fails: raw.on_timeout.unwrap_or_default() == OnTimeout::Fail,
    })
}

fn within(
    key: &'static str,
    value: u64,
    range: RangeInclusive<u64>,
    told: &'static str,
) -> Result<u64, Problem> {
    let good = range.contains(&value).then_some(value);
    good.ok_or(Problem::Range {
        key,
        value,
        range: told,
    })
}
