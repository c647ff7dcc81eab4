//! Connections as a weapon: too many, too slow, never read, in pairs, with the wrong keys.

use std::time::Instant;

use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::frame::FrameType;
use everwrite_protocol::wire::{BackupCommand, Query, Refusal, Role, Welcome};
use everwrite_receiver::transport::{Frame, read_frame, send_frame, write_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::attacker::{Attacker, DEADLINE, Line, applied, ended, greet, stored, throw};
use crate::history::{FILE, GOOD, cut, cut_frame, part, part_frame, send, write};
use crate::scene::Scene;

const NEXT: u64 = GOOD + 1;

/// This process holds the other ends.
fn allow_open_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
}

/// More strangers than there may be connections, who say nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_says_nothing() {
    allow_open_files();
    let mut scene = Scene::start().await;
    let mut crowd = Vec::new();
    for _ in 0..1500 {
        crowd.push(scene.attacker.tcp().await);
    }
    // An honest source that has to come in past them.
    scene.pair.source.daemon().terminate();
    scene.pair.source.start_again();
    scene.honest_source_is_served();
    drop(crowd);
    scene.unharmed().await;
}

/// The same, within TLS: a hello that never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_says_half_a_hello() {
    allow_open_files();
    let mut scene = Scene::start().await;
    let mut joining = JoinSet::new();
    for _ in 0..300 {
        let attacker = scene.attacker.clone();
        joining.spawn(async move {
            let mut bytes = Vec::new();
            let hello = attacker.hello(Role::Live);
            write_frame(&mut bytes, &hello).await.unwrap();
            // Those who are too many may be shown out before they are done.
            let mut line = attacker.try_tls().await.ok()?;
            throw(&mut line, &bytes[..bytes.len() - 1]).await;
            Some(line)
        });
    }
    let crowd = joining.join_all().await;
    scene.pair.source.daemon().terminate();
    scene.pair.source.start_again();
    scene.honest_source_is_served();
    drop(crowd);
    scene.unharmed().await;
}

/// A frame that never ends is given up, whether its sender was let in or not.
#[tokio::test]
async fn a_frame_that_never_ends() {
    let scene = Scene::start().await;
    let mut stranger = scene.attacker.tcp().await;
    let mut unnamed = scene.attacker.tls().await;
    throw(&mut unnamed, b"EWF1").await;
    let (mut live, _) = scene.attacker.connect(Role::Live).await;
    let mut bytes = Vec::new();
    let frame = part_frame(&part(NEXT, 0, vec![write(5)]), &[0; 1 << 20]);
    write_frame(&mut bytes, &frame).await.unwrap();
    throw(&mut live, &bytes[..bytes.len() - 1]).await;
    scene.honest_source_is_served();
    ended(&mut stranger).await;
    ended(&mut unnamed).await;
    ended(&mut live).await;
    scene.unharmed().await;
}

/// Questions without number, and nobody reads an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_whose_answers_nobody_reads() {
    let scene = Scene::start().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let (line, _) = scene.attacker.connect(Role::Query).await;
        held.push(tokio::spawn(ask_without_end(line)));
    }
    scene.honest_source_is_served();
    for task in &held {
        task.abort();
    }
    scene.unharmed().await;
}

async fn ask_without_end(mut line: Line) {
    let read = Query::Read {
        file: FILE,
        at: SequenceNumber(GOOD),
        offset: 0,
    };
    let question = Frame::message(FrameType::Query, &read).unwrap();
    while send_frame(&mut line, &question).await.is_ok() {}
}

/// Batches without number from one who never reads a reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_nobody_reads() {
    let scene = Scene::start().await;
    let (mut line, _) = scene.attacker.connect(Role::Live).await;
    let repeated = part_frame(&part(1, 0, vec![write(5)]), b"other");
    for _ in 0..20_000 {
        send_frame(&mut line, &Frame::empty(FrameType::Ping))
            .await
            .unwrap();
        send_frame(&mut line, &repeated).await.unwrap();
        send_frame(&mut line, &cut_frame(&cut(1, 1))).await.unwrap();
    }
    scene.honest_source_is_served();
    drop(line);
    scene.unharmed().await;
}

/// Questions whose answers take for ever, on all lines that a source may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_take_for_ever() {
    let scene = Scene::start().await;
    let enormous = BackupCommand::Truncate {
        file: FILE,
        length: 8 << 40,
        origin: 0,
    };
    let (mut live, _) = scene.attacker.connect(Role::Live).await;
    send(&mut live, NEXT, vec![enormous], b"").await;
    stored(&mut live, NEXT).await;
    let whole = Query::WholeDigest {
        file: FILE,
        after: SequenceNumber(NEXT),
    };
    let question = Frame::message(FrameType::Query, &whole).unwrap();
    let mut held = Vec::new();
    for _ in 0..16 {
        let (mut line, _) = scene.attacker.connect(Role::Query).await;
        send_frame(&mut line, &question).await.unwrap();
        held.push(line);
    }
    scene.honest_source_is_served();
    scene.pair.source.everwrite(["verify"]).success();
    drop(held);
    let smaller = BackupCommand::Truncate {
        file: FILE,
        length: 5,
        origin: 0,
    };
    send(&mut live, NEXT + 1, vec![smaller], b"").await;
    applied(&mut live, NEXT + 1).await;
    let began = Instant::now();
    while !scene.attacker.may_ask().await {
        assert!(began.elapsed() < DEADLINE, "lines of the dead are kept");
    }
    scene.unharmed().await;
}

/// Two lines of one source, both with the next batch: one of them wins, nothing is mixed.
#[tokio::test]
async fn two_lines_with_one_batch() {
    let scene = Scene::start().await;
    let (mut older, _) = scene.attacker.connect(Role::Live).await;
    let begun = part_frame(&part(NEXT, 0, vec![write(5)]), b"older");
    send_frame(&mut older, &begun).await.unwrap();
    let (mut newer, _) = scene.attacker.connect(Role::Live).await;
    let newer_part = part_frame(&part(NEXT, 0, vec![write(5)]), b"newer");
    send_frame(&mut newer, &newer_part).await.unwrap();
    let _ = send_frame(&mut older, &cut_frame(&cut(NEXT, 1))).await;
    ended(&mut older).await;
    send_frame(&mut newer, &cut_frame(&cut(NEXT, 1)))
        .await
        .unwrap();
    stored(&mut newer, NEXT).await;
    let read = Query::Read {
        file: FILE,
        at: SequenceNumber(NEXT),
        offset: 0,
    };
    let (_, payload) = scene.attacker.ask(&read).await;
    assert!(payload.starts_with(b"newer"), "{payload:?}");
    scene.unharmed().await;
}

/// All that is said to somebody, past the handshake.
async fn told(attacker: &Attacker) -> Vec<u8> {
    let mut line = attacker.tls().await;
    for role in [Role::Query, Role::Live] {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &attacker.hello(role))
            .await
            .unwrap();
        throw(&mut line, &bytes).await;
    }
    let tree = Frame::message(FrameType::Query, &Query::Tree { cursor: None }).unwrap();
    let _ = send_frame(&mut line, &tree).await;
    let _ = line.shutdown().await;
    ended(&mut line).await
}

/// Who has the wrong key learns nothing: not even whether there is such a source.
#[tokio::test]
async fn wrong_keys_get_nothing() {
    let scene = Scene::start().await;
    let stranger = scene.attacker.with_another_key();
    let known = told(&stranger).await;
    let unknown = told(&stranger.claiming(SourceId([99; 16]))).await;
    assert_eq!(known, unknown);
    let mut said = known.as_slice();
    let welcome = read_frame(&mut said).await.unwrap();
    let welcome: Welcome = welcome.decode(FrameType::Welcome).unwrap();
    assert_eq!(welcome, Welcome::Refused(Refusal::Unknown));
    assert!(said.is_empty(), "{} more bytes were said", said.len());
    let honest = scene.honest_id();
    let mut line = scene.attacker.claiming(honest).tls().await;
    let hello = scene.attacker.claiming(honest).hello(Role::Query);
    let welcome = greet(&mut line, &hello).await;
    assert_eq!(welcome, Welcome::Refused(Refusal::Identity));
    scene.unharmed().await;
}

/// Without TLS, nothing is said but an alert.
#[tokio::test]
async fn without_tls_there_is_no_conversation() {
    let scene = Scene::start().await;
    let mut tcp = scene.attacker.tcp().await;
    let mut hello = Vec::new();
    write_frame(&mut hello, &scene.attacker.hello(Role::Query))
        .await
        .unwrap();
    tcp.write_all(&hello).await.unwrap();
    let mut said = Vec::new();
    tcp.take(1024).read_to_end(&mut said).await.unwrap();
    assert!(said.len() <= 7, "{said:?}");
    scene.unharmed().await;
}
