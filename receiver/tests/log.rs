//! The log after a loss of power, and after damage.
//!
//! What was written since the last sync may be there, or not, sector by sector, in any order: that is a
//! torn end, and is cut off. What was once synced and is bad now is damage: an alarm, and not a byte of
//! the log is changed.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{SequenceNumber, Timestamp};
use everwrite_receiver::log::appender::Appender;
use everwrite_receiver::log::{
    FrameKind, LogPosition, NewFrame, Recovered, Scan, Segments, Step, StoredCut, recover,
};
use everwrite_receiver::store::StoreError;
use proptest::prelude::*;
use support::{SOURCE, cut, scratch};

const SECTOR: usize = 512;

fn appender(directory: &Path, end: LogPosition) -> Appender {
    Appender::open(segments(directory), SOURCE, end).unwrap()
}

fn segments(directory: &Path) -> Segments {
    Segments::new(directory.to_owned())
}

fn recovered(directory: &Path) -> Result<Recovered, StoreError> {
    recover(
        &segments(directory),
        LogPosition::START,
        SequenceNumber(0),
        true,
    )
}

fn append_batch(appender: &mut Appender, sequence: u64, bytes: usize) {
    let payload: Vec<u8> = (0..bytes).map(|i| (i as u64 * sequence) as u8).collect();
    let data = NewFrame {
        raw_bytes: bytes,
        payload,
        ..NewFrame::bare(FrameKind::Data, sequence, b"part".to_vec())
    };
    appender.append(&data).unwrap();
    let stored = StoredCut {
        cut: cut(sequence, 1),
        stored: Timestamp(0),
        durable: appender.durable(),
    };
    let encoded = codec::encode(&stored).unwrap();
    appender
        .append(&NewFrame::bare(FrameKind::Cut, sequence, encoded))
        .unwrap();
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (
            entry.file_name().into_string().unwrap(),
            std::fs::read(entry.path()).unwrap(),
        )
    };
    std::fs::read_dir(directory).unwrap().map(read).collect()
}

/// Each sector that differs from what was synced may be as it was then.
fn lose_power(
    directory: &Path,
    synced: &BTreeMap<String, Vec<u8>>,
    mut keeps: impl FnMut() -> bool,
) {
    for (name, now) in files(directory) {
        let nothing = Vec::new();
        let then = synced.get(&name).unwrap_or(&nothing);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(directory.join(&name))
            .unwrap();
        for start in (0..now.len()).step_by(SECTOR) {
            let end = now.len().min(start + SECTOR);
            let mut old = then.get(start..end.min(then.len())).unwrap_or(&[]).to_vec();
            old.resize(end - start, 0);
            if old != now[start..end] && !keeps() {
                file.write_all_at(&old, start as u64).unwrap();
            }
        }
    }
}

fn walk(directory: &Path) -> u64 {
    let mut scan = Scan::new(segments(directory), LogPosition::START);
    let mut last = 0;
    loop {
        match scan.step().unwrap() {
            Step::Frame(frame) if frame.header.kind == FrameKind::Cut => {
                last = frame.header.sequence
            }
            Step::Frame(_) => {}
            Step::End => return last,
            Step::Bad(at, error) => panic!("{at:?}: {error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn a_torn_end_is_cut_off(
        batches in prop::collection::vec((0..5000usize, any::<bool>()), 1..30),
        losses in prop::collection::vec(any::<u8>(), 1..50),
        share in 0..256u16,
    ) {
        let directory = scratch();
        let mut log = appender(directory.path(), LogPosition::START);
        let (mut durable, mut synced) = (0, BTreeMap::new());
        for (index, (bytes, sync)) in batches.iter().enumerate() {
            append_batch(&mut log, index as u64 + 1, *bytes);
            if *sync {
                log.sync().unwrap();
                (durable, synced) = (index as u64 + 1, files(directory.path()));
            }
        }
        drop(log);
        let mut losses = losses.iter().cycle();
        lose_power(directory.path(), &synced, || u16::from(*losses.next().unwrap()) < share);
        let found = recovered(directory.path()).unwrap();
        prop_assert!(found.stored.0 >= durable, "{} after {durable} were durable", found.stored.0);
        let mut log = appender(directory.path(), found.end);
        append_batch(&mut log, found.stored.0 + 1, 100);
        log.sync().unwrap();
        prop_assert_eq!(walk(directory.path()), found.stored.0 + 1);
    }
}

/// Three batches, each synced before the next.
fn three_synced(directory: &Path) {
    let mut log = appender(directory, LogPosition::START);
    for sequence in 1..=3 {
        append_batch(&mut log, sequence, 2000);
        log.sync().unwrap();
    }
}

#[test]
fn damage_is_an_alarm_wherever_it_is() {
    let directory = scratch();
    three_synced(directory.path());
    let whole = files(directory.path());
    let (name, bytes) = whole.first_key_value().unwrap();
    // The third batch's cut tells that everything before the third batch was on the disk.
    let third = third_batch(directory.path());
    for at in (0..third).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(directory.path().join(name), &damaged).unwrap();
        let padding = recovered(directory.path()).map(|found| found.stored.0);
        match padding {
            Err(StoreError::Damaged { .. }) => {}
            // Bytes that fill a frame up to a multiple of eight mean nothing.
            Ok(3) => assert_eq!(bytes[at], 0, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(
            files(directory.path())[name],
            damaged,
            "byte {at}: the log was changed"
        );
    }
}

fn third_batch(directory: &Path) -> usize {
    let mut scan = Scan::new(segments(directory), LogPosition::START);
    loop {
        match scan.step().unwrap() {
            Step::Frame(frame) if frame.header.sequence == 3 => return frame.at.offset as usize,
            Step::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_segment_that_is_gone_is_an_alarm() {
    let directory = scratch();
    let mut log = appender(directory.path(), LogPosition::START);
    for sequence in 1..=140 {
        append_batch(&mut log, sequence, 1 << 20);
        log.sync().unwrap();
    }
    drop(log);
    assert_eq!(walk(directory.path()), 140);
    assert_eq!(files(directory.path()).len(), 3);
    std::fs::remove_file(segments(directory.path()).path(2)).unwrap();
    assert!(matches!(
        recovered(directory.path()),
        Err(StoreError::Damaged { .. })
    ));
    assert!(directory.path().join("00000003.seg").exists());
}
