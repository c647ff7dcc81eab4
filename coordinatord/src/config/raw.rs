//! The configuration as written by people: every key optional where there is a default, unknown
//! keys refused. Turned into a [`Config`](super::Config) once, by [`super::check`].

use everwrite_protocol::control::PathText;
use serde::Deserialize;

/// `config.toml`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) exclude: Vec<String>,
    pub(super) schedule: RawSchedule,
    pub(super) scan: RawScan,
    pub(super) witness: RawWitness,
    pub(super) brakes: RawBrakes,
    pub(super) cuts: RawCuts,
    pub(super) durable_fsync: RawDurableFsync,
    pub(super) receivers: Vec<RawReceiver>,
    pub(super) roots: Vec<RawRoot>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReceiver {
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) fingerprint: Option<String>,
    pub(super) directory: Option<PathText>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoot {
    pub(super) name: String,
    pub(super) path: PathText,
    pub(super) to: String,
    pub(super) rpo_ms: Option<u64>,
    #[serde(default)]
    pub(super) durable_fsync: bool,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSchedule {
    pub(super) interval_ms_min: Option<u64>,
    pub(super) interval_ms_max: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawScan {
    pub(super) interval_s: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWitness {
    pub(super) enabled: Option<bool>,
    pub(super) ebpf: Option<bool>,
    pub(super) calls: Option<bool>,
    pub(super) ring_kib: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBrakes {
    pub(super) burst_files: Option<u64>,
    pub(super) burst_percent: Option<u64>,
    pub(super) burst_s: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCuts {
    pub(super) interval_ms: Option<u64>,
    pub(super) hold_ms_max: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDurableFsync {
    pub(super) timeout_ms: Option<u64>,
    pub(super) on_timeout: Option<OnTimeout>,
}

/// What becomes of an `fsync` that the receiver did not store in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnTimeout {
    #[default]
    Continue,
    Fail,
}
