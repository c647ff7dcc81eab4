//! The ladder against a receiver in memory that counts what it is asked: whatever the change, the
//! plan rebuilds the new content; and the usual changes cost little.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use everwrite_protocol::codec;
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, DIGEST_BYTES, Query, QueryError};
use fast_rsync::{Signature, SignatureOptions};
use proptest::prelude::*;

use super::*;
use crate::network_backup::Ask;

const FILE: FileId = FileId(7);
const AFTER: SequenceNumber = SequenceNumber(3);

/// Holds one file.
struct Receiver {
    base: Vec<u8>,
    /// Bytes of questions and answers.
    line_bytes: AtomicU64,
}

impl Receiver {
    fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        let block_range = |offset: u64, length: u64| {
            let range = offset as usize..(offset + length) as usize;
            &self.base[range]
        };
        match *query {
            Query::Digests {
                file: FILE,
                offset,
                length,
                block,
                after: AFTER,
            } => {
                let digest = |block: &[u8]| blake3::hash(block).as_bytes()[..DIGEST_BYTES].to_vec();
                let blocks: Vec<_> = block_range(offset, length)
                    .chunks(block as usize)
                    .map(digest)
                    .collect();
                let answer = Answer::Digests {
                    size: self.base.len() as u64,
                    blocks: blocks.len() as u32,
                };
                (answer, blocks.concat())
            }
            Query::Signature {
                file: FILE,
                offset,
                length,
                block,
                after: AFTER,
            } => {
                let options = SignatureOptions {
                    block_size: block,
                    crypto_hash_size: 16,
                };
                let signature = Signature::calculate(block_range(offset, length), options);
                (Answer::Signature, signature.into_serialized())
            }
            _ => (Answer::Failed(QueryError::NotFound), Vec::new()),
        }
    }
}

impl Ask for Receiver {
    async fn ask(&self, query: Query) -> Result<(Answer, Vec<u8>), AskError> {
        let (answer, payload) = self.answer(&query);
        let bytes = codec::encode(&query).unwrap().len()
            + codec::encode(&answer).unwrap().len()
            + payload.len();
        self.line_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        match answer {
            Answer::Failed(error) => Err(error.into()),
            answer => Ok((answer, payload)),
        }
    }

    async fn ask_all(&self, queries: Vec<Query>) -> Result<Vec<(Answer, Vec<u8>)>, AskError> {
        let mut answers = Vec::new();
        for query in queries {
            answers.push(self.ask(query).await?);
        }
        Ok(answers)
    }
}

/// What a change cost.
struct Cost {
    data_bytes: u64,
    line_bytes: u64,
    plan: Plan,
}

fn climb(base: &[u8], new: &Vec<u8>, mode: Mode) -> Cost {
    let receiver = Receiver {
        base: base.to_vec(),
        line_bytes: AtomicU64::new(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (new_length, base_length) = (new.len() as u64, base.len() as u64);
    let climb = ladder(new, new_length, FILE, base_length, AFTER, &receiver, mode);
    let plan = runtime.block_on(climb).unwrap();
    check(&plan, base, new, mode);
    let data = plan.pieces.iter().map(|piece| match piece {
        Piece::Data { length, .. } => *length,
        _ => 0,
    });
    Cost {
        data_bytes: data.sum(),
        line_bytes: receiver.line_bytes.into_inner(),
        plan,
    }
}

/// The pieces are in order, without gaps, allowed, and make the new content.
fn check(plan: &Plan, base: &[u8], new: &[u8], mode: Mode) {
    let mut built = Vec::new();
    for piece in &plan.pieces {
        let (offset, bytes) = match *piece {
            Piece::Same { offset, length } => (offset, range(base, offset, length)),
            Piece::Copy {
                offset,
                length,
                from_offset,
            } => {
                assert_eq!(mode, Mode::Rebuild);
                assert_ne!(offset, from_offset, "that is Same");
                (offset, range(base, from_offset, length))
            }
            Piece::Data { offset, length } => (offset, range(new, offset, length)),
            Piece::Hole { offset, length } => (offset, vec![0; length as usize]),
        };
        assert_eq!(offset, built.len() as u64, "pieces without gaps");
        assert!(!bytes.is_empty(), "no empty pieces");
        built.extend(bytes);
    }
    assert!(built == new, "the plan makes another content");
    assert_eq!(plan.digest, *blake3::hash(new).as_bytes());
    let copies = plan
        .pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Copy { .. }));
    assert_eq!(plan.in_place, !copies);
}

fn range(bytes: &[u8], offset: u64, length: u64) -> Vec<u8> {
    let range = offset as usize..(offset + length) as usize;
    bytes[range].to_vec()
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut noise);
    noise
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

#[test]
fn one_byte_inserted_near_the_start_of_50_mib_costs_little() {
    let base = noise(50 * MIB, 1);
    let mut new = base.clone();
    new.insert(1000, 7);
    let cost = climb(&base, &new, Mode::Rebuild);
    assert!(
        cost.data_bytes < 8 * KIB as u64,
        "{} bytes of data",
        cost.data_bytes
    );
    assert!(
        cost.line_bytes < 40 * KIB as u64,
        "{} bytes of digests",
        cost.line_bytes
    );
}

#[test]
fn bytes_inserted_at_both_ends_and_in_the_middle_cost_little() {
    let base = noise(50 * MIB, 1);
    let mut new = base.clone();
    for at in [49 * MIB, 25 * MIB, 1000] {
        new.insert(at, 7);
    }
    let cost = climb(&base, &new, Mode::Rebuild);
    assert!(
        cost.data_bytes < 100 * KIB as u64,
        "{} bytes of data",
        cost.data_bytes
    );
    assert!(
        cost.line_bytes < 200 * KIB as u64,
        "{} bytes of digests",
        cost.line_bytes
    );
}

#[test]
fn pages_changed_where_they_are_are_the_only_data() {
    let base = noise(20 * MIB, 1);
    let mut new = base.clone();
    for page in [0, 1, 77, 3000, 5119] {
        new[page * 4 * KIB..][..4 * KIB].copy_from_slice(&noise(4 * KIB, page as u64 + 9));
    }
    for mode in [Mode::InPlace, Mode::Rebuild] {
        let cost = climb(&base, &new, mode);
        assert_eq!(cost.data_bytes, 5 * 4 * KIB as u64);
        assert!(cost.plan.in_place);
    }
}

#[test]
fn nothing_changed_is_one_piece() {
    let base = noise(5 * MIB + 17, 1);
    let cost = climb(&base, &base, Mode::InPlace);
    let length = base.len() as u64;
    assert_eq!(cost.plan.pieces, [Piece::Same { offset: 0, length }]);
}

#[test]
fn appended_bytes_are_the_only_data() {
    let base = noise(3 * MIB + 100, 1);
    let new = [&base[..], &noise(5000, 2)].concat();
    for mode in [Mode::InPlace, Mode::Rebuild] {
        assert_eq!(climb(&base, &new, mode).data_bytes, 5000);
    }
}

#[test]
fn a_shorter_file_has_no_data() {
    let base = noise(3 * MIB, 1);
    assert_eq!(
        climb(&base, &base[..MIB + 5].to_vec(), Mode::InPlace).data_bytes,
        0
    );
}

#[test]
fn short_content_goes_whole_without_a_question() {
    let base = noise(100 * KIB, 1);
    let cost = climb(&base, &noise(100 * KIB, 1), Mode::Rebuild);
    assert_eq!((cost.data_bytes, cost.line_bytes), (100 * KIB as u64, 0));
    let empty = climb(&base, &Vec::new(), Mode::Rebuild);
    assert_eq!(empty.plan.pieces, []);
}

#[test]
fn content_that_has_nothing_in_common_is_all_data() {
    let (base, new) = (noise(3 * MIB, 1), noise(4 * MIB, 2));
    for mode in [Mode::InPlace, Mode::Rebuild] {
        let cost = climb(&base, &new, mode);
        assert_eq!(cost.data_bytes, 4 * MIB as u64);
    }
}

#[test]
fn halves_that_changed_places_are_found() {
    let base = noise(8 * MIB, 1);
    let new = [&base[3 * MIB + 5..], &base[..3 * MIB + 5]].concat();
    let cost = climb(&base, &new, Mode::Rebuild);
    assert!(cost.data_bytes < 20 * KIB as u64, "{}", cost.data_bytes);
}

#[test]
fn what_lies_across_a_window_s_border_is_found() {
    let base = noise(70 * MIB, 1);
    let new = [
        &noise(3000, 2),
        &base[..35 * MIB],
        &noise(3000, 3),
        &base[35 * MIB..],
    ]
    .concat();
    let cost = climb(&base, &new, Mode::Rebuild);
    assert!(cost.data_bytes < 200 * KIB as u64, "{}", cost.data_bytes);
}

#[test]
fn a_base_of_another_length_is_told() {
    let receiver = Receiver {
        base: noise(MIB, 1),
        line_bytes: AtomicU64::new(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let new = noise(MIB, 2);
    let length = new.len() as u64;
    let climb = ladder(
        &new,
        length,
        FILE,
        length - 1,
        AFTER,
        &receiver,
        Mode::InPlace,
    );
    let error = runtime.block_on(climb).unwrap_err();
    assert!(matches!(error, LadderError::Base { .. }), "{error}");
}

#[test]
fn a_file_s_holes_stay_holes() {
    use std::os::unix::fs::FileExt;
    let file = tempfile::tempfile().unwrap();
    file.set_len(8 * MIB as u64).unwrap();
    file.write_all_at(&noise(MIB, 1), 4 * MIB as u64).unwrap();
    let mut base = vec![0; 8 * MIB];
    base[..MIB].copy_from_slice(&noise(MIB, 1));
    let receiver = Receiver {
        base,
        line_bytes: AtomicU64::new(0),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let length = 8 * MIB as u64;
    let climb = ladder(&file, length, FILE, length, AFTER, &receiver, Mode::InPlace);
    let plan = runtime.block_on(climb).unwrap();
    let mib = MIB as u64;
    let wanted = [
        Piece::Hole {
            offset: 0,
            length: mib,
        },
        Piece::Same {
            offset: mib,
            length: 3 * mib,
        },
        Piece::Data {
            offset: 4 * mib,
            length: mib,
        },
        Piece::Same {
            offset: 5 * mib,
            length: 3 * mib,
        },
    ];
    assert_eq!(plan.pieces, wanted);
}

/// One edit of a file.
#[derive(Clone, Debug)]
enum Edit {
    Insert { at: usize, bytes: usize },
    Remove { at: usize, bytes: usize },
    Overwrite { at: usize, bytes: usize },
    Move { range: Range<usize>, to: usize },
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0usize..3_000_000;
    let bytes = 1usize..100_000;
    prop_oneof![
        (at.clone(), bytes.clone()).prop_map(|(at, bytes)| Edit::Insert { at, bytes }),
        (at.clone(), bytes.clone()).prop_map(|(at, bytes)| Edit::Remove { at, bytes }),
        (at.clone(), bytes.clone()).prop_map(|(at, bytes)| Edit::Overwrite { at, bytes }),
        (at.clone(), bytes, at).prop_map(|(at, bytes, to)| {
            let range = at..at + bytes;
            Edit::Move { range, to }
        }),
    ]
}

fn apply(edit: &Edit, content: &mut Vec<u8>, seed: u64) {
    let length = content.len();
    let clip = |at: usize, bytes: usize| at.min(length)..(at + bytes).min(length);
    match edit.clone() {
        Edit::Insert { at, bytes } => {
            content.splice(at.min(length)..at.min(length), noise(bytes, seed));
        }
        Edit::Remove { at, bytes } => drop(content.drain(clip(at, bytes))),
        Edit::Overwrite { at, bytes } => {
            let range = clip(at, bytes);
            let new = noise(range.len(), seed);
            content[range].copy_from_slice(&new);
        }
        Edit::Move { range, to } => {
            let moved: Vec<u8> = content.drain(clip(range.start, range.len())).collect();
            let to = to.min(content.len());
            content.splice(to..to, moved);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_edits_are_planned_right(
        length in 0usize..2_500_000,
        edits in proptest::collection::vec(edit(), 0..6),
        in_place: bool,
    ) {
        let base = noise(length, 1);
        let mut new = base.clone();
        for (index, edit) in edits.iter().enumerate() {
            apply(edit, &mut new, index as u64 + 2);
        }
        climb(&base, &new, if in_place { Mode::InPlace } else { Mode::Rebuild });
    }
}
