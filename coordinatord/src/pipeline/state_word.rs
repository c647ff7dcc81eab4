//! The one state word of a root. Pure.

use everwrite_protocol::control::State;

/// What decides about it.
#[derive(Clone, Debug, Default)]
pub struct RootSituation {
    /// The switch is on.
    pub switch_on: bool,
    /// It is off for a while only.
    pub timed: bool,
    /// The root is halted: why.
    pub halted: Option<String>,
    /// The pipeline can't work: why.
    pub failed: Option<String>,
    /// There is a connection.
    pub connected: bool,
    /// Why there is none.
    pub connection_error: String,
    /// The receiver can't store: why.
    pub stalled: Option<String>,
    /// It is being copied for the first time.
    pub initial: bool,
    /// A scan after a gap is running, or has to.
    pub reconciling: bool,
    /// Age of the oldest change that is not stored, milliseconds.
    pub oldest_unstored_ms: u64,
    /// The promise, milliseconds.
    pub rpo_ms: u64,
    /// How many paths can't be read.
    pub unreadable: u64,
    /// A program's `fsync` did not wait until the receiver had stored, though the root asks for that.
    pub durability_broken: bool,
}

/// The word, and why in a sentence.
pub fn state_word(situation: &RootSituation) -> (State, String) {
    let s = situation;
    if !s.switch_on {
        let word = if s.timed { State::Paused } else { State::Off };
        return (
            word,
            "the switch is off: changes are not captured".to_owned(),
        );
    }
    if let Some(reason) = s.halted.as_ref().or(s.failed.as_ref()) {
        return (State::Error, reason.clone());
    }
    if let Some(reason) = &s.stalled {
        return (
            State::Stalled,
            format!(
                "the receiver can't store: {reason}; nothing is lost, it goes on when there is room"
            ),
        );
    }
    if !s.connected {
        return (
            State::Disconnected,
            format!("no connection to the receiver: {}", s.connection_error),
        );
    }
    if s.initial {
        return (State::InitialSync, "first copy under way".to_owned());
    }
    if s.reconciling {
        return (
            State::Reconcile,
            "comparing disk and index after a gap".to_owned(),
        );
    }
    if s.oldest_unstored_ms > s.rpo_ms {
        return (
            State::Backlog,
            format!("a change waits longer than the promised {} ms", s.rpo_ms),
        );
    }
    if s.durability_broken {
        return (
            State::Degraded,
            "a program's fsync did not wait until the receiver had stored: see [durable_fsync] in the \
             configuration for how long it waits, and what happens then"
                .to_owned(),
        );
    }
    if s.unreadable > 0 {
        return (
            State::Degraded,
            format!("{} paths can't be read and are not protected", s.unreadable),
        );
    }
    (State::Continuous, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> RootSituation {
        RootSituation {
            switch_on: true,
            connected: true,
            rpo_ms: 1000,
            ..Default::default()
        }
    }

    #[test]
    fn the_worst_is_told() {
        let text = || Some("x".to_owned());
        let cases = [
            (usual(), State::Continuous),
            (
                RootSituation {
                    switch_on: false,
                    connected: false,
                    ..usual()
                },
                State::Off,
            ),
            (
                RootSituation {
                    switch_on: false,
                    timed: true,
                    ..usual()
                },
                State::Paused,
            ),
            (
                RootSituation {
                    halted: text(),
                    connected: false,
                    ..usual()
                },
                State::Error,
            ),
            (
                RootSituation {
                    failed: text(),
                    ..usual()
                },
                State::Error,
            ),
            (
                RootSituation {
                    connected: false,
                    initial: true,
                    ..usual()
                },
                State::Disconnected,
            ),
            (
                RootSituation {
                    stalled: text(),
                    initial: true,
                    ..usual()
                },
                State::Stalled,
            ),
            (
                RootSituation {
                    initial: true,
                    reconciling: true,
                    ..usual()
                },
                State::InitialSync,
            ),
            (
                RootSituation {
                    reconciling: true,
                    oldest_unstored_ms: 9999,
                    ..usual()
                },
                State::Reconcile,
            ),
            (
                RootSituation {
                    oldest_unstored_ms: 1001,
                    ..usual()
                },
                State::Backlog,
            ),
            (
                RootSituation {
                    unreadable: 1,
                    ..usual()
                },
                State::Degraded,
            ),
        ];
        for (situation, expected) in cases {
            assert_eq!(state_word(&situation).0, expected, "{situation:?}");
        }
    }
}
