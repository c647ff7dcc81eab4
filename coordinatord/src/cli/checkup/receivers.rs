//! Receivers: do they answer, do the clocks agree, is there room where the store is ours.

use std::time::Instant;

use everwrite_protocol::wire::{At, Point};

use super::{Finding, machine};
use crate::cli::archive::Archive;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::shown;
use crate::config::{Config, Place, Receiver};

/// Clocks further apart than this are worth a warning, milliseconds.
const CLOCK_MS_MAX: i64 = 2_000;

pub(super) async fn look(context: &Context, config: &Config) -> Vec<Finding> {
    if config.receivers.is_empty() {
        return vec![Finding::bad(
            "receivers",
            "none is paired",
            "`everwrite-receiver pair` there, `everwrite pair CODE` here; or protect with \
             --to dir:PATH",
        )];
    }
    let mut findings = Vec::new();
    for receiver in &config.receivers {
        findings.extend(ask(context, receiver).await);
        if let Place::Directory(store) = &receiver.place {
            findings.push(machine::space(&receiver.name, store));
            findings.extend(same_disk(receiver, config));
        }
    }
    findings
}

async fn ask(context: &Context, receiver: &Receiver) -> Vec<Finding> {
    let subject = format!("receiver {}", receiver.name);
    let archive = match Archive::open(context, receiver) {
        Ok(archive) => archive,
        Err(failure) => return vec![Finding::bad(&subject, failure.message, failure.hint)],
    };
    let asked = Instant::now();
    match archive.resolve(At::Newest).await {
        Ok(point) => {
            let took = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            let answers = format!(
                "{} answers within {}; newest recovery point @{}, {}",
                receiver.place,
                shown::span_ms(took),
                point.sequence.0,
                shown::ago(point.time, shown::now())
            );
            vec![Finding::good(&subject, answers), clock(receiver, &point)]
        }
        Err(failure) if failure.exit == Exit::Negative => vec![Finding::warning(
            &subject,
            format!("{} answers, and holds nothing yet", receiver.place),
            "`everwrite protect DIR`",
        )],
        Err(failure) => vec![Finding::bad(
            &subject,
            failure.message,
            "start it there, look into its log, see that its port is open to this machine",
        )],
    }
}

/// The receiver stamps each batch when it is stored, shortly after the source cut it. So a stamp
/// before the cut, or long after it, is the difference of the clocks (or an outage in between).
fn clock(receiver: &Receiver, point: &Point) -> Finding {
    let subject = format!("clock of {}", receiver.name);
    let behind_ms = (point.time.0 - point.stored.0) / 1_000_000;
    let span = shown::span_ms(behind_ms.unsigned_abs());
    match behind_ms {
        behind if behind > CLOCK_MS_MAX => Finding::warning(
            &subject,
            format!("it is {span} behind this one"),
            "let both machines keep time by NTP; times of recovery points are this machine's",
        ),
        behind if behind < -CLOCK_MS_MAX => Finding::warning(
            &subject,
            format!("it is ahead of this one by up to {span}, or the last batch waited that long"),
            "let both machines keep time by NTP; times of recovery points are this machine's",
        ),
        _ => Finding::good(
            &subject,
            format!("agrees within {}", shown::span_ms(CLOCK_MS_MAX as u64)),
        ),
    }
}

/// A store on the disk that it is to protect goes down with it.
fn same_disk(receiver: &Receiver, config: &Config) -> Option<Finding> {
    let Place::Directory(store) = &receiver.place else {
        return None;
    };
    let device = |path: &std::path::Path| Some(rustix::fs::stat(path).ok()?.st_dev);
    let own = device(store)?;
    let roots = config.roots.iter().filter(|root| root.to == receiver.name);
    let shared = roots.filter(|root| device(&root.path) == Some(own));
    let names: Vec<_> = shared.map(|root| root.name.clone()).collect();
    (!names.is_empty()).then(|| {
        Finding::warning(
            &format!("receiver {}", receiver.name),
            format!("its store is on the same file system as {}", names.join(", ")),
            "a store on another disk, or a receiver on another machine, survives the loss of this one",
        )
    })
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::{SequenceNumber, Timestamp};
    use everwrite_protocol::wire::CutKind;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn clocks_are_compared_by_the_stamps_of_one_batch() {
        let receiver = Receiver {
            name: "r".to_owned(),
            place: Place::Directory("/s".into()),
        };
        let cases = [
            (0, 5, Verdict::Good),
            (60_000, 0, Verdict::Warning),
            (0, 60_000, Verdict::Warning),
        ];
        for (cut_ms, stored_ms, verdict) in cases {
            let point = Point {
                sequence: SequenceNumber(1),
                time: Timestamp(cut_ms * 1_000_000),
                stored: Timestamp(stored_ms * 1_000_000),
                kind: CutKind::Fuzzy,
                checkpoint: None,
            };
            assert_eq!(
                clock(&receiver, &point).verdict,
                verdict,
                "{cut_ms} {stored_ms}"
            );
        }
    }
}
