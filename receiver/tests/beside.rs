//! Whoever asks while batches are applied sees one recovery point, however files and directories move
//! meanwhile.
//!
//! One thread stores batches of moves, swaps, replacements and deletions; others ask the questions that
//! `everwrite verify`, `restore` and `ls` ask, at current and at past recovery points. The model knows
//! every answer.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, Attributes, Kind, Query, QueryError};
use everwrite_receiver::mirror::Layout;
use everwrite_receiver::store::SourceStore;
use everwrite_receiver::verify::verify;

use support::child::{Random, SEED, setting};
use support::generate::{Generator, Step};
use support::model::{File, Model, Tree};
use support::{Batch, LONG, SOURCE, compare, open, scratch, send};

/// How many batches are stored; another number by this variable.
const BATCHES: (&str, u64) = ("EVERWRITE_TEST_BATCHES", 300);
/// Every burst of batches lasts for so many answers at least.
const ANSWERS_OF_BURST: u64 = 60;

/// Steps of the generator: mostly such that move files and directories about.
const STEPS: [u16; 16] = [0, 1, 2, 2, 4, 8, 8, 8, 9, 9, 9, 10, 11, 12, 16, 16];

/// All batches, and what is true after each.
struct Story {
    batches: Vec<Batch>,
    trees: Vec<Tree>,
}

impl Story {
    fn new(count: u64, random: &mut Random) -> Self {
        let (mut generator, mut model) = (Generator::default(), Model::default());
        let (mut batches, mut trees) = (Vec::new(), vec![model.tree()]);
        for _ in 0..count {
            let steps: Vec<Step> = (0..random.below(20)).map(|_| step(random)).collect();
            let batch = generator.batch(&model, &steps);
            model.apply(&batch);
            batches.push(batch);
            trees.push(model.tree());
        }
        Self { batches, trees }
    }

    /// A file with its content, which is another one soon.
    fn about_to_change(&self, at: u64) -> Option<(FileId, &File)> {
        let soon = self.trees.len().min(at as usize + 9);
        let tree = self.trees[at as usize].values();
        let changes = |file: FileId, now: &File| {
            let mut later = self.trees[at as usize + 1..soon].iter();
            let is = |(id, then): &(FileId, File)| *id == file && then.content != now.content;
            later.any(|tree| tree.values().any(is))
        };
        let mut files = tree.map(|(id, file)| (*id, file));
        files.find(|(id, file)| changes(*id, file))
    }

    /// The states of a file within some recovery points; `None`: it is not there.
    fn states(&self, file: FileId, from: u64, to: u64) -> impl Iterator<Item = Option<&File>> {
        self.trees[from as usize..=to as usize]
            .iter()
            .map(move |tree| tree.values().find(|(id, _)| *id == file).map(|(_, f)| f))
    }
}

fn step(random: &mut Random) -> Step {
    let mut number = || random.below(65_536) as u16;
    let [what, a, b, c] = std::array::from_fn(|_| number());
    // 17 kinds of steps.
    [
        what / 17 % 3000 * 17 + STEPS[usize::from(what % 16)],
        a,
        b,
        c,
    ]
}

/// What the threads share.
struct Scene<'s> {
    store: &'s SourceStore,
    story: &'s Story,
    directory: &'s Path,
    answers: AtomicU64,
    over: AtomicBool,
}

/// Ends the other threads when one is done, or fails.
struct Curtain<'s>(&'s AtomicBool);

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Scene<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores all batches, in bursts.
    fn write(&self, mut random: Random) {
        let mut burst_ends = 0;
        for (index, batch) in self.story.batches.iter().enumerate() {
            send(self.store, index as u64 + 1, batch);
            if index as u64 >= burst_ends {
                burst_ends = index as u64 + random.below(8);
                self.wait_for_answers();
            }
        }
        assert!(self.store.catch_up(LONG));
    }

    fn wait_for_answers(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + ANSWERS_OF_BURST;
        let deadline = Instant::now() + LONG;
        while self.answers.load(Ordering::Relaxed) < enough && !self.is_over() {
            assert!(Instant::now() < deadline, "nothing is answered any more");
            std::thread::yield_now();
        }
    }

    /// As `ls` and `restore` do: whole trees of some moment.
    fn read_the_past(&self, mut random: Random) {
        while !self.is_over() {
            let at = random.below(self.store.stored().0 + 1);
            compare::history(self.store, at, &self.story.trees[at as usize]);
            self.answered();
        }
    }

    /// One file that is about to change, as it is now, again and again: what is kept from one answer for
    /// the next must not be of another recovery point than the rest.
    fn read_one_file(&self) {
        while !self.is_over() {
            let at = self.store.stored().0;
            let Some((file, model)) = self.story.about_to_change(at) else {
                continue;
            };
            for _ in 0..100 {
                compare::content_is(self.store, file, at, model);
                self.answered();
            }
        }
    }

    /// As `everwrite verify` does: digests of all that the newest recovery point has.
    fn digest_the_present(&self) {
        while !self.is_over() {
            let at = self.store.stored().0;
            for (file, model) in self.story.trees[at as usize].values() {
                if model.attributes.kind == Kind::Regular {
                    self.digest(*file, at);
                }
            }
        }
    }

    /// The file may have changed since, or gone; any other answer is a failure.
    fn digest(&self, file: FileId, at: u64) {
        let after = SequenceNumber(at);
        let answer = self.store.answer(&Query::WholeDigest { file, after }).0;
        let mut states = self.story.states(file, at, self.store.stored().0);
        let fits = match &answer {
            Answer::WholeDigest { digest, .. } => {
                let same = |f: &File| blake3::hash(&f.content).as_bytes() == digest;
                states.any(|state| state.is_some_and(same))
            }
            Answer::Failed(QueryError::NotFound) => states.any(|state| state.is_none()),
            _ => false,
        };
        assert!(fits, "file {} after {at}: {answer:?}", file.0);
        self.answered();
    }

    /// As a source does that has lost its index: the whole tree is that of one recovery point.
    fn list_the_present(&self) {
        while !self.is_over() {
            let from = self.store.stored().0;
            let listed = self.tree();
            let to = self.store.stored().0;
            let of = |tree: &Tree| -> BTreeMap<FileId, _> {
                tree.values()
                    .map(|(id, f)| (*id, f.attributes.clone()))
                    .collect()
            };
            let mut trees = self.story.trees[from as usize..=to as usize].iter();
            assert!(
                trees.any(|tree| of(tree) == listed),
                "the tree is of no recovery point"
            );
            self.answered();
        }
    }

    fn tree(&self) -> BTreeMap<FileId, Attributes> {
        let answer = self.store.answer(&Query::Tree { cursor: None }).0;
        let Answer::Tree {
            entries,
            cursor: None,
            ..
        } = answer
        else {
            panic!("{answer:?}")
        };
        entries
            .into_iter()
            .map(|entry| (entry.file, entry.attributes))
            .collect()
    }

    /// As `everwrite-receiver verify` does.
    fn verify_the_store(&self) {
        let layout = Layout::new(self.directory, SOURCE);
        while !self.is_over() {
            let report = verify(&layout).unwrap();
            assert!(report.differences.is_empty(), "{:?}", report.differences);
            self.answered();
        }
    }
}

#[test]
fn answers_beside_apply_are_of_one_recovery_point() {
    let directory = scratch();
    let store = open(directory.path());
    let mut random = Random(setting(SEED));
    let story = Story::new(setting(BATCHES), &mut random);
    let [writer, past] = std::array::from_fn(|_| Random(random.below(u64::MAX)));
    let scene = &Scene {
        store: &store,
        story: &story,
        directory: directory.path(),
        answers: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let until_over = |act: Box<dyn FnOnce() + Send + '_>| {
            let _curtain = Curtain(&scene.over);
            act();
        };
        scope.spawn(move || until_over(Box::new(|| scene.write(writer))));
        scope.spawn(move || until_over(Box::new(|| scene.read_the_past(past))));
        scope.spawn(move || until_over(Box::new(|| scene.read_one_file())));
        scope.spawn(move || until_over(Box::new(|| scene.digest_the_present())));
        scope.spawn(move || until_over(Box::new(|| scene.list_the_present())));
        scope.spawn(move || until_over(Box::new(|| scene.verify_the_store())));
    });
    println!("{} answers", scene.answers.load(Ordering::Relaxed));
    let source = directory.path().join("src").join(SOURCE.to_string());
    compare::nothing_refused(&source);
}
