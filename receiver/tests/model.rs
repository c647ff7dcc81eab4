//! Whatever batches come, mirror and history are what a slow model says, across re-openings.

mod support;

use proptest::prelude::*;
use support::generate::{Generator, Step};
use support::model::Model;
use support::{SOURCE, catch_up, compare, open, scratch, send};

/// What happens after a batch is sent.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    CatchUp,
    Reopen,
}

fn batches() -> impl Strategy<Value = Vec<(Vec<Step>, Then)>> {
    let step = any::<Step>();
    let then =
        prop_oneof![5 => Just(Then::Nothing), 2 => Just(Then::CatchUp), 1 => Just(Then::Reopen)];
    prop::collection::vec((prop::collection::vec(step, 0..12), then), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn mirror_and_history_follow_the_model(batches in batches()) {
        let directory = scratch();
        let mut store = open(directory.path());
        let mut generator = Generator::default();
        let mut model = Model::default();
        let mut trees = vec![model.tree()];
        for (index, (steps, then)) in batches.iter().enumerate() {
            let batch = generator.batch(&model, steps);
            model.apply(&batch);
            trees.push(model.tree());
            send(&store, index as u64 + 1, &batch);
            match then {
                Then::Nothing => {}
                Then::CatchUp => catch_up(&store, index as u64 + 1),
                Then::Reopen => {
                    drop(store);
                    store = open(directory.path());
                }
            }
        }
        let last = batches.len() as u64;
        catch_up(&store, last);
        compare::history(&store, last, &trees[last as usize]);
        compare::nothing_refused(&directory.path().join("src").join(SOURCE.to_string()));
        let mirror = directory.path().join("src").join(SOURCE.to_string()).join("mirror");
        compare::mirror(&mirror, &trees[last as usize]);
        for (at, tree) in trees.iter().enumerate() {
            compare::history(&store, at as u64, tree);
        }
    }
}
