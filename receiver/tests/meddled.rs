//! Somebody changes the mirror behind the store's back. It goes on, and what the log has is still to be
//! had, as of any moment.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::*;
use support::generate::{Generator, Step};
use support::model::Model;
use support::{SOURCE, catch_up, compare, open, scratch, send};

/// What is done to an entry of the mirror.
#[derive(Clone, Copy, Debug)]
enum Meddling {
    Remove,
    CutShort,
    PutLinkInPlace,
}

fn meddle(
    directory: &Path,
    elsewhere: &Path,
    meddlings: &mut dyn Iterator<Item = Option<Meddling>>,
) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let directory = path.symlink_metadata().unwrap().is_dir();
        let remove = || match directory {
            true => std::fs::remove_dir_all(&path).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        };
        match meddlings.next().flatten() {
            None if directory => meddle(&path, elsewhere, meddlings),
            None => {}
            Some(Meddling::Remove) => remove(),
            Some(Meddling::PutLinkInPlace) => {
                remove();
                std::os::unix::fs::symlink(elsewhere, &path).unwrap();
            }
            Some(Meddling::CutShort) if path.is_file() => {
                std::fs::OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_len(1)
                    .unwrap();
            }
            Some(Meddling::CutShort) => {}
        }
    }
}

fn batches() -> impl Strategy<Value = Vec<Vec<Step>>> {
    // Without copies: their bytes are in the mirror alone.
    let step = any::<Step>().prop_map(|[what, a, b, c]| {
        if what % 17 == 12 {
            [13, a, b, c]
        } else {
            [what, a, b, c]
        }
    });
    prop::collection::vec(prop::collection::vec(step, 0..10), 2..16)
}

fn meddlings() -> impl Strategy<Value = Vec<Option<Meddling>>> {
    let meddling = prop_oneof![
        6 => Just(None),
        2 => Just(Some(Meddling::Remove)),
        1 => Just(Some(Meddling::CutShort)),
        1 => Just(Some(Meddling::PutLinkInPlace)),
    ];
    prop::collection::vec(meddling, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_log_has_it_still(batches in batches(), meddlings in meddlings(), when in any::<prop::sample::Index>()) {
        let (directory, elsewhere) = (scratch(), scratch());
        let untouched = elsewhere.path().metadata().unwrap();
        let store = open(directory.path());
        let mut generator = Generator::default();
        let mut model = Model::default();
        let mut trees = vec![model.tree()];
        let when = when.index(batches.len());
        for (index, steps) in batches.iter().enumerate() {
            let batch = generator.batch(&model, steps);
            model.apply(&batch);
            trees.push(model.tree());
            send(&store, index as u64 + 1, &batch);
            if index == when {
                catch_up(&store, index as u64 + 1);
                let mirror = directory.path().join("src").join(SOURCE.to_string()).join("mirror");
                meddle(&mirror, elsewhere.path(), &mut meddlings.iter().copied().cycle());
            }
        }
        catch_up(&store, batches.len() as u64);
        for (at, tree) in trees.iter().enumerate() {
            compare::history(&store, at as u64, tree);
        }
        let now = elsewhere.path().metadata().unwrap();
        prop_assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        prop_assert_eq!((now.mode(), now.uid()), (untouched.mode(), untouched.uid()));
        prop_assert_eq!(now.ctime_nsec(), untouched.ctime_nsec(), "a link was followed");
    }
}
