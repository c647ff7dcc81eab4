//! What has to hold.

use std::fs;
use std::path::Path;

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::CutKind;
use everwrite_receiver::mirror::Layout;

use crate::dice::Dice;
use crate::receiver::{Came, SOURCE};
use crate::tree::{Known, Tree, differences, in_history, on_disk};
use crate::world::{World, root};

pub(crate) const SECRET: &str = "outside all roots";
/// Recovery points of a run that are judged, besides checkpoints.
const CONSISTENT_JUDGED: usize = 10;
const OTHERS_JUDGED: usize = 6;

/// The end of a run: all rules.
pub(crate) fn judge(world: &World, dice: &Dice) {
    let broken = world.machine.broken();
    assert!(broken.is_empty(), "{broken:#?}");
    no_gaps(&world.machine.batches());
    no_name_is_partial(&world.machine.batches());
    nothing_outside(&world.base);
    let (consistent, others): (Vec<_>, Vec<_>) = world
        .machine
        .batches()
        .into_iter()
        .partition(|it| it.cut.kind.is_consistent());
    for came in some(consistent, CONSISTENT_JUDGED, dice) {
        was_on_the_disk(world, &came);
    }
    for came in some(others, OTHERS_JUDGED, dice) {
        could_have_been(world, &came);
    }
}

fn some(mut from: Vec<Came>, count: usize, dice: &Dice) -> Vec<Came> {
    while from.len() > count {
        from.swap_remove(dice.below(from.len() as u64) as usize);
    }
    from
}

fn no_gaps(batches: &[Came]) {
    for (at, came) in batches.iter().enumerate() {
        assert_eq!(
            came.cut.sequence.0,
            at as u64 + 1,
            "batches are numbered without gaps"
        );
    }
}

/// Whoever asks for a checkpoint waits for a comparison that goes on.
fn no_name_is_partial(batches: &[Came]) {
    for cut in batches.iter().map(|came| &came.cut) {
        let name = cut.checkpoint.as_ref();
        assert!(name.is_none() || cut.kind != CutKind::Partial, "{name:?}");
    }
}

/// What lies outside the root is as it was; and nothing came to lie beside what is known.
fn nothing_outside(base: &Path) {
    assert_eq!(
        fs::read(base.join("outside/secret")).unwrap(),
        SECRET.as_bytes()
    );
    assert_eq!(fs::read_dir(base.join("outside")).unwrap().count(), 1);
    let known = [
        "copy",
        "copy-wal",
        "elsewhere",
        "home",
        "outside",
        "store",
        "tree",
    ];
    for entry in fs::read_dir(base).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(known.iter().any(|it| name == *it), "{name:?} was made");
    }
}

pub(crate) fn mirror_is_the_tree(world: &World, when: &str) {
    let mirror = Layout::new(&world.base.join("store"), SOURCE)
        .mirror()
        .join(root());
    let found = on_disk(&mirror, &mut Known::new());
    let wrong = differences(&found, &last(world));
    assert!(wrong.is_empty(), "the mirror at {when}:\n{wrong}");
}

fn last(world: &World) -> Tree {
    world.programs().states.last().unwrap().clone()
}

pub(crate) fn history_is(world: &World, sequence: SequenceNumber, when: &str) {
    let wrong = differences(&past(world, sequence), &last(world));
    assert!(wrong.is_empty(), "the history at {when}:\n{wrong}");
}

fn past(world: &World, sequence: SequenceNumber) -> Tree {
    let store = world.machine.store().unwrap();
    in_history(&store, root(), sequence).unwrap_or_default()
}

/// A point that is said to be consistent is the tree as it was when that was asked.
fn was_on_the_disk(world: &World, came: &Came) {
    let number = came.cut.sequence.0;
    let found = past(world, came.cut.sequence);
    let programs = world.programs();
    let states = world.ear.states_at(came.cut.time);
    assert!(
        !states.is_empty(),
        "nobody asked at the time of batch {number}"
    );
    let wrong = states
        .iter()
        .map(|at| differences(&found, &programs.states[*at]));
    let wrong: Vec<String> = wrong.collect();
    let fits = wrong.iter().any(String::is_empty);
    assert!(
        fits,
        "batch {number} is said to be consistent:\n{}",
        wrong[0]
    );
}

/// Any point: no half file of those that are only ever replaced as a whole, no name that never was.
fn could_have_been(world: &World, came: &Came) {
    let number = came.cut.sequence.0;
    let programs = world.programs();
    for (path, entry) in past(world, came.cut.sequence) {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let name = path
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or(&path)
            .to_vec();
        let known = programs.names.contains(&(name, entry.kind as u8));
        assert!(known, "batch {number}: there never was a {shown}");
        if let Some(wholes) = programs.wholes.get(&path) {
            let content = entry.content.as_deref().map_or(&[][..], |it| it);
            let whole = wholes.contains(&blake3::hash(content));
            // One that was replaced while the index was lost is taken for the old one, and becomes it piece by
            // piece where it does not fit a batch.
            let on_its_way =
                came.cut.kind == CutKind::Partial && content.len() as u64 > world.batch_bytes;
            assert!(
                whole || on_its_way,
                "batch {number}: {shown} is half a file"
            );
        }
    }
}

/// Does the file system give a time that was looked at only once (Linux 6.13 and newer, most file systems)?
pub(crate) fn has_fine_times(base: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let path = base.join("copy");
    let changed = |content: &str| {
        fs::write(&path, content).unwrap();
        fs::metadata(&path).unwrap().ctime_nsec()
    };
    let times: Vec<i64> = ["a", "b", "c", "d"].map(changed).to_vec();
    fs::remove_file(&path).unwrap();
    times.windows(2).all(|pair| pair[0] != pair[1])
}
