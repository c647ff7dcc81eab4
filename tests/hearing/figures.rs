//! What hearing costs the coordinator. Measurements, run by hand:
//!
//! ```text
//! EVERWRITE_MEASURE=1 cargo test --release -p everwrite-tests --test hearing figures -- \
//!     --nocapture --test-threads 1
//! ```

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{DEADLINE, measuring, run, wait_for};

use crate::ear::Ear;

/// CPU time of this process's threads of a name, as the kernel counts it (1 ns).
fn cpu_time(thread: &str) -> Duration {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim_end() == thread {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            total += text
                .split(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Duration::from_nanos(total)
}

/// Waits on the wall clock: the thing measured is what happens in that time.
fn for_a_while(time: Duration) {
    let end = Instant::now() + time;
    wait_for("time to pass", DEADLINE, || {
        (Instant::now() >= end).then_some(())
    });
}

#[test]
fn cost_of_an_attachment() {
    if !measuring("cost_of_an_attachment") {
        return;
    }
    const PROGRAMS: u32 = 1000;
    let mut ear = Ear::new();
    ear.said();
    let (door, reader) = (cpu_time("intake-door"), cpu_time("intake-reader"));
    ear.shell(&format!(
        "for i in $(seq {PROGRAMS}); do /bin/echo $i > f$i; mkdir d$i; done"
    ));
    ear.said();
    let per = |time: Duration| time / (2 * PROGRAMS);
    println!("door: {:?} a process", per(cpu_time("intake-door") - door));
    println!(
        "reader: {:?} a process",
        per(cpu_time("intake-reader") - reader)
    );
    println!("processes: {:?}", ear.intake.as_ref().unwrap().statistics());
}

#[test]
fn cost_of_a_slot() {
    if !measuring("cost_of_a_slot") {
        return;
    }
    let script = "
import os, random
fd = os.open('file', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 1 << 30)
for i in range(400000): os.pwrite(fd, b'x' * 16, random.randrange(1 << 30))";
    let mut ear = Ear::new();
    ear.said();
    let (reader, slots) = (
        cpu_time("intake-reader"),
        ear.intake.as_ref().unwrap().statistics(),
    );
    let mut writer = ear
        .command("python3")
        .arg("-c")
        .arg(script)
        .spawn()
        .unwrap();
    let mut hints = 0;
    while writer.try_wait().unwrap().is_none() {
        hints += ear.heard_so_far().len();
    }
    let taken = ear.intake.as_ref().unwrap().statistics().hints - slots.hints;
    let time = cpu_time("intake-reader") - reader;
    println!(
        "{taken} slots, {hints} hints: {:?} a slot",
        time / taken.max(1) as u32
    );
    println!("{:?}", ear.intake.as_ref().unwrap().statistics());
}

#[test]
fn cost_of_idleness() {
    if !measuring("cost_of_idleness") {
        return;
    }
    const PROGRAMS: usize = 100;
    let mut ear = Ear::new();
    let mut programs: Vec<_> = (0..PROGRAMS)
        .map(|number| {
            let mut command = ear.command("sh");
            command
                .arg("-c")
                .arg(format!("echo > f{number}; read line"));
            command.stdin(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let all = ear.tree.join(format!("f{}", PROGRAMS - 1));
    wait_for("all programs", DEADLINE, || all.exists().then_some(()));
    ear.said();
    for_a_while(Duration::from_millis(500));
    let (door, reader) = (cpu_time("intake-door"), cpu_time("intake-reader"));
    let span = Duration::from_secs(10);
    for_a_while(span);
    let share = |time: Duration| time.as_secs_f64() / span.as_secs_f64() * 100.0;
    println!("{:?}", ear.intake.as_ref().unwrap().statistics());
    println!(
        "door: {:.3} % of a core",
        share(cpu_time("intake-door") - door)
    );
    println!(
        "reader: {:.3} % of a core",
        share(cpu_time("intake-reader") - reader)
    );
    for program in &mut programs {
        drop(program.stdin.take());
        program.wait().unwrap();
    }
}

#[test]
fn time_from_a_write_to_its_hint() {
    if !measuring("time_from_a_write_to_its_hint") {
        return;
    }
    let mut ear = Ear::new();
    let mut delays = Vec::new();
    for gap_ms in [1u64, 5, 30, 300] {
        let script = format!(
            "import os, time
fd = os.open('file', os.O_RDWR | os.O_CREAT)
for i in range(60): time.sleep({gap_ms} / 1000); os.pwrite(fd, time.clock_gettime_ns(1).to_bytes(8, 'little'), i * 64)"
        );
        let mut writer = ear
            .command("python3")
            .arg("-c")
            .arg(script)
            .spawn()
            .unwrap();
        delays.clear();
        while writer.try_wait().unwrap().is_none() {
            let heard = ear.heard_so_far();
            let now = monotonic_ns();
            for offset in heard.iter().filter_map(crate::ear::offset_of_write) {
                let mut written = [0; 8];
                let file = fs::File::open(ear.tree.join("file")).unwrap();
                std::os::unix::fs::FileExt::read_at(&file, &mut written, offset).unwrap();
                delays.push(now.saturating_sub(u64::from_le_bytes(written)));
            }
        }
        delays.sort_unstable();
        let at = |share: usize| Duration::from_nanos(delays[(delays.len() - 1) * share / 100]);
        println!(
            "every {gap_ms} ms: p50 {:?}, p99 {:?} ({})",
            at(50),
            at(99),
            delays.len()
        );
    }
    drop(run(&mut ear.command("true")));
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
