//! The intake as a whole, against the producer of [`super::producer`].

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use everwrite_protocol::ids::Name;
use everwrite_protocol::local::segment::operation;
use everwrite_protocol::local::{
    FileModification, Hello, Inode, NameChange, Refusal, SOCKET_FILE_NAME, Welcome, decode,
};
use tokio::sync::mpsc::{self, Receiver};

use super::producer::{Attached, Call, Producer, hello, knock};
use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

struct World {
    home: tempfile::TempDir,
    intake: Intake,
    hints: Receiver<Vec<Hint>>,
}

impl World {
    fn new(channel: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (sender, hints) = mpsc::channel(channel);
        let intake = Intake::start(home.path(), sender).unwrap();
        Self {
            home,
            intake,
            hints,
        }
    }

    fn run_directory(&self) -> &Path {
        self.home.path()
    }

    fn attach(&self) -> Attached {
        let hello = hello(self.intake.hall.policy.epoch());
        let (_, attached) = knock(self.run_directory(), &hello).expect("an answer");
        attached.expect("a segment")
    }

    /// What was sent before the barrier returned.
    async fn barrier(&mut self) -> Vec<What> {
        let mut said = Vec::new();
        {
            let mut barrier = std::pin::pin!(self.intake.barrier());
            loop {
                tokio::select! {
                    () = &mut barrier => break,
                    hints = self.hints.recv() => said.extend(hints.unwrap()),
                }
            }
        }
        while let Ok(hints) = self.hints.try_recv() {
            said.extend(hints);
        }
        said.into_iter().map(|hint| hint.what).collect()
    }

    async fn next(&mut self) -> Vec<Hint> {
        tokio::time::timeout(DEADLINE, self.hints.recv())
            .await
            .expect("in time")
            .expect("open")
    }
}

fn write(inode: u64, offset: u64, length: u64) -> What {
    What::Write {
        file: Inode { device: 1, inode },
        birth: 0,
        offset,
        length,
    }
}

fn producer(attached: &Attached) -> Producer<'_> {
    Producer {
        segment: &attached.segment,
        thread: rustix::thread::gettid().as_raw_pid() as u32,
    }
}

#[tokio::test]
async fn a_call_is_heard_with_who_made_it() {
    let mut world = World::new(8);
    let program = world.attach();
    let call = Call::write(7, 4096, 100);
    let began = Instant::now();
    let announced = producer(&program).begin(0, call);
    producer(&program).end(announced, call);
    program.ring();
    let hints = world.next().await;
    assert_eq!(hints.len(), 1);
    assert_eq!(hints[0].what, write(7, 4096, 100));
    assert!(hints[0].at >= began);
    let origin = world.intake.origin(hints[0].origin);
    assert_eq!(origin.pid, std::process::id());
    assert_eq!(origin.uid, rustix::process::geteuid().as_raw());
    assert_eq!(
        origin.executable,
        std::env::current_exe().unwrap().to_str().unwrap()
    );
    let figures = world.intake.statistics();
    assert_eq!((figures.processes, figures.hints, figures.lost), (1, 1, 0));
}

#[tokio::test]
async fn who_is_here_is_told_with_what_came_of_it() {
    let mut world = World::new(8);
    assert_eq!(world.intake.coverage().await, Coverage::default());
    let attached = world.attach();
    let call = Call::write(7, 0, 10);
    let announced = producer(&attached).begin(0, call);
    producer(&attached).end(announced, call);
    world.barrier().await;
    let told = world.intake.coverage().await.attached;
    let [process] = told.as_slice() else {
        panic!("not one: {told:?}");
    };
    assert_eq!((process.pid, process.hints), (std::process::id(), 1));
    assert!(!process.blind && !process.program.is_empty());
    // The process as another program, which has said nothing yet.
    let _anew = world.attach();
    let told = world.intake.coverage().await.attached;
    let hints: Vec<u64> = told.iter().map(|process| process.hints).collect();
    assert_eq!(hints, [0]);
}

#[tokio::test]
async fn neighbours_become_one_hint() {
    let mut world = World::new(8);
    let program = world.attach();
    for at in 0..100 {
        let call = Call::write(7, at * 10, 10);
        producer(&program).end(producer(&program).begin(at as usize % 4, call), call);
    }
    let said = world.barrier().await;
    let bytes = |what: &What| match what {
        What::Write { length, .. } => *length,
        _ => 0,
    };
    assert_eq!(said.iter().map(bytes).sum::<u64>(), 1000);
    assert!(said.len() < 20, "{said:?}");
}

#[tokio::test]
async fn a_barrier_counts_calls_under_way_and_so_does_their_end() {
    let mut world = World::new(8);
    let program = world.attach();
    let call = Call::write(7, 0, 10);
    let announced = producer(&program).begin(0, call);
    assert_eq!(world.barrier().await, [write(7, 0, 10)]);
    producer(&program).end(announced, call);
    assert_eq!(world.barrier().await, [write(7, 0, 10)]);
    assert_eq!(world.barrier().await, []);
}

#[tokio::test]
async fn names_are_checked() {
    let mut world = World::new(8);
    let program = world.attach();
    let directory = Inode {
        device: 1,
        inode: 2,
    };
    let name = |name| FileModification::Name {
        directory,
        name,
        change: NameChange::Created,
    };
    for bytes in [&b"plain"[..], b"plain", b"\xff", b"", b"..", b"a/b"] {
        producer(&program).name(&name(bytes));
    }
    let new_directory = Inode {
        device: 1,
        inode: 3,
    };
    let rename = |new_name| FileModification::Rename {
        old_directory: directory,
        old_name: b"old",
        new_directory,
        new_name,
        exchange: false,
    };
    producer(&program).name(&rename(b"new"));
    producer(&program).name(&rename(b"."));
    let said = world.barrier().await;
    let name = |bytes: &[u8]| Name::new(bytes).unwrap();
    let named = |bytes: &[u8]| What::Name {
        directory,
        name: name(bytes),
        arrived: false,
    };
    let renamed = What::Rename {
        old_directory: directory,
        old_name: name(b"old"),
        new_directory,
        new_name: name(b"new"),
    };
    for expected in [
        named(b"plain"),
        named(b"\xff"),
        renamed,
        named(b"old"),
        What::Names { directory },
        What::Names {
            directory: new_directory,
        },
    ] {
        assert!(said.contains(&expected), "{expected:?}");
    }
    // What comes in two parts may be told of twice.
    let said_before = |at: usize| said[..at].contains(&said[at]);
    let different = (0..said.len()).filter(|at| !said_before(*at)).count();
    assert_eq!(different, 6, "{said:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_told_wider() {
    let mut world = World::new(8);
    let program = world.attach();
    // More names at once than there are slots: the rest is "some names".
    let directory = Inode {
        device: 1,
        inode: 2,
    };
    for number in 0..5000 {
        let name = format!("{number}");
        let change = NameChange::Created;
        producer(&program).name(&FileModification::Name {
            directory,
            name: name.as_bytes(),
            change,
        });
    }
    let said = world.barrier().await;
    assert!(said.len() < 5000 && said.contains(&What::Names { directory }));
}

#[tokio::test]
async fn a_full_channel_widens_and_loses_nothing() {
    let mut world = World::new(1);
    let program = world.attach();
    for number in 0..20_000u64 {
        let call = Call::write(7, number * 100, 10);
        let announced = producer(&program).begin(0, call);
        producer(&program).end(announced, call);
    }
    let said = world.barrier().await;
    let covered = |byte: u64| {
        said.iter().any(|what| match what {
            What::Write { offset, length, .. } => (*offset..offset + length).contains(&byte),
            What::Everything => true,
            _ => false,
        })
    };
    assert!((0..20_000).all(|number| covered(number * 100 + 9)));
}

#[tokio::test]
async fn everything_is_told_at_most_once_a_second() {
    let mut world = World::new(8);
    let program = world.attach();
    let began = Instant::now();
    let mut told = 0;
    while told < 2 {
        program.segment.header.all_dirty.store(1, Relaxed);
        program.ring();
        told += world
            .next()
            .await
            .iter()
            .filter(|hint| hint.what == What::Everything)
            .count();
    }
    assert!(began.elapsed() >= merge::EVERYTHING_INTERVAL);
    assert!(world.intake.statistics().lost >= 2);
}

#[tokio::test]
async fn the_door_refuses_other_versions_but_no_epoch() {
    let world = World::new(8);
    let right = hello(world.intake.hall.policy.epoch());
    let answer = |hello| knock(world.run_directory(), &hello).unwrap().0;
    assert_eq!(
        answer(Hello {
            version: 999,
            ..right
        }),
        Welcome::Refused(Refusal::Version)
    );
    assert!(matches!(
        answer(Hello {
            epoch: right.epoch ^ 1,
            ..right
        }),
        Welcome::Attached { .. }
    ));
    assert!(matches!(answer(right), Welcome::Attached { .. }));
}

#[tokio::test]
async fn who_knocks_in_vain_is_looked_after() {
    let mut world = World::new(8);
    let socket = world.run_directory().join(SOCKET_FILE_NAME);
    let mut peer = UnixStream::connect(&socket).unwrap();
    peer.write_all(&[3, 255, 255, 255]).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(
        decode(&answer[1..]),
        Some(Welcome::Refused(Refusal::Malformed))
    );
    assert_eq!(world.barrier().await, [What::Everything]);
}

#[tokio::test]
async fn one_process_can_not_take_all_the_room() {
    let mut world = World::new(8);
    let right = hello(world.intake.hall.policy.epoch());
    let kept: Vec<_> = (0..16).map(|_| world.attach()).collect();
    assert!(knock(world.run_directory(), &right).is_none(), "not now");
    // What it does unheard is looked for whenever somebody wants to be sure.
    assert_eq!(world.barrier().await, [What::Everything]);
    assert_eq!(world.barrier().await, [What::Everything]);
    drop(kept);
}

#[tokio::test]
async fn the_switch_is_followed_by_a_look_for_latecomers() {
    let mut world = World::new(8);
    world.intake.set_switch(true);
    assert_eq!(world.next().await[0].what, What::Everything);
    assert_eq!(world.intake.statistics().lost, 0);
    world.intake.set_switch(true);
    assert_eq!(world.barrier().await, []);
}

#[tokio::test]
async fn silent_peers_do_not_keep_others_waiting() {
    let world = World::new(8);
    let socket = world.run_directory().join(SOCKET_FILE_NAME);
    let connect = || UnixStream::connect(&socket).unwrap();
    let silent: Vec<_> = (0..300).map(|_| connect()).collect();
    let began = Instant::now();
    drop(world.attach());
    assert!(began.elapsed() < DEADLINE / 2);
    drop(silent);
}

#[tokio::test]
async fn a_stopped_intake_says_goodbye() {
    let world = World::new(8);
    assert!(coordinator_is_alive(world.run_directory()));
    let World {
        home,
        intake,
        mut hints,
    } = world;
    drop(intake);
    assert!(hints.recv().await.is_none());
    let socket = home.path().join(SOCKET_FILE_NAME);
    assert!(!socket.exists() && !coordinator_is_alive(home.path()));
}

#[tokio::test]
async fn a_run_is_a_write_and_a_proof_settles_it() {
    let mut world = World::new(8);
    let program = world.attach();
    let run = Call {
        operation: operation::RUN,
        chain: 5,
        ..Call::write(7, 0, 10)
    };
    producer(&program).end(producer(&program).begin(0, run), run);
    assert_eq!(world.barrier().await, [write(7, 0, 10)]);
    let proof = Call {
        length: 0,
        chain: 5,
        ..Call::write(7, 0, 0)
    };
    producer(&program).end(producer(&program).begin(0, proof), proof);
    assert_eq!(world.barrier().await, []);
    let nameless = Call { chain: 0, ..run };
    producer(&program).end(producer(&program).begin(0, nameless), nameless);
    let file = Inode {
        device: 1,
        inode: 7,
    };
    assert_eq!(world.barrier().await, [What::Whole { file, birth: 0 }]);
}
