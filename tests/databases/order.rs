//! Plain files that programs write in an order that they rely on: what was written later is never there
//! without what was written before, whatever file it is in.

use std::path::Path;

use crate::judgement::{Samples, Verdict, assert_good};
use crate::notes::{Id, Notes};
use crate::scene::{Load, Scene, at_length};

const WRITER: &str = include_str!("order_writer.py");
const WRITERS: u64 = 2;

/// How far each file of a writer has come.
#[derive(Debug)]
struct Steps {
    first: u64,
    block: u64,
    third: u64,
    name: u64,
}

impl Steps {
    fn read(directory: &Path) -> Result<Self, String> {
        let first = read(&directory.join("first"))?;
        let third = read(&directory.join("third"))?;
        let steps = Self {
            first: numbers(&first).next().unwrap_or(0),
            block: block(&read(&directory.join("there/block"))?)?,
            third: appended(&third)?,
            name: name(directory)?,
        };
        let order = [steps.first, steps.block, steps.third, steps.name];
        let in_order = order.is_sorted_by(|earlier, later| earlier >= later);
        match in_order && steps.name + 1 >= steps.first {
            true => Ok(steps),
            false => Err(format!("{steps:?}")),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (numbers, _) = bytes.as_chunks::<8>();
    numbers.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The last of the steps that wrote 16 KiB at a time, at seven places that overlap: it is whole.
fn block(bytes: &[u8]) -> Result<u64, String> {
    let last = numbers(bytes).max().unwrap_or(0);
    let whole = numbers(bytes).filter(|number| *number == last).count();
    match last == 0 || whole == 2048 {
        true => Ok(last),
        false => Err(format!(
            "a write of 2048 numbers {last} is there with {whole}"
        )),
    }
}

/// One number after the other, none left out.
fn appended(bytes: &[u8]) -> Result<u64, String> {
    let count = (bytes.len() / 8) as u64;
    match bytes.len().is_multiple_of(8) && numbers(bytes).eq(1..=count) {
        true => Ok(count),
        false => Err(format!(
            "{} bytes were appended, not 1, 2, 3 ...",
            bytes.len()
        )),
    }
}

/// The one name that there is.
fn name(directory: &Path) -> Result<u64, String> {
    let names = directory.read_dir().map_err(|error| error.to_string())?;
    let step = |name: &str| name.strip_prefix("step-")?.parse::<u64>().ok();
    let steps: Vec<u64> = names
        .flatten()
        .filter_map(|entry| step(entry.file_name().to_str()?))
        .collect();
    match steps[..] {
        [step] => Ok(step),
        _ => Err(format!("names of steps {steps:?}")),
    }
}

/// All writers of one point, and what they knew to be done by then.
fn judge(tree: &Path, notes: &Notes, time: i64) -> Verdict {
    let mut present = std::collections::BTreeSet::<Id>::new();
    for writer in 0..WRITERS {
        let steps = Steps::read(&tree.join(format!("order-{writer}")))?;
        present.extend((1..=steps.name).map(|step| (writer, step)));
    }
    notes.judge(time, &present)
}

fn fill(tree: &Path) {
    for writer in 0..WRITERS {
        let top = format!("order-{writer}");
        let script = format!(
            "mkdir -p {top}/there; touch {top}/first {top}/third {top}/there/block {top}/step-0"
        );
        harness::shell(tree, script);
    }
}

#[test]
fn what_was_written_later_is_not_there_without_what_was_before() {
    let scene = Scene::new(fill);
    let load = Load::wanted();
    let writer = |writer: u64| {
        let notes = scene.notes_of(writer).display().to_string();
        let numbers = [load.seconds, load.rest_ms].map(|number| number.to_string());
        let [seconds, rest] = numbers;
        scene.python(WRITER, &[notes, writer.to_string(), seconds, rest])
    };
    let points = scene.points_during((0..WRITERS).map(writer).collect());
    let mut notes = Notes::default();
    (0..WRITERS).for_each(|writer| notes.add(writer, &scene.notes_of(writer)));
    let samples = Samples {
        test: "order",
        count: if at_length() { 100 } else { 15 },
        seconds: load.seconds,
    };
    assert_good(&scene.pair, &points, samples, |tree, point| {
        judge(tree, &notes, point.time())
    });
}
