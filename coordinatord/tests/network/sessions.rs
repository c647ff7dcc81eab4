//! Batches, replies, refusals.

use std::sync::Arc;

use everwrite_coordinatord::network_backup::{Identity, Target, UplinkEvent};
use everwrite_protocol::ids::SourceId;

use crate::batches::{batch, sequence};
use crate::memory::Memory;
use crate::rig::{Line, Receiver, Source};

#[tokio::test]
async fn batches_arrive_as_they_were_sent() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    assert_eq!(line.connected().await, sequence(0));
    let sent = [
        batch(1, 1, 100),
        batch(2, 3, 1 << 20),
        batch(3, 0, 0),
        batch(4, 2, 4096),
    ];
    sent.iter()
        .for_each(|batch| line.uplink.send(batch.clone()));
    line.stored(4).await;
    assert_eq!(memory.batches(source.id), sent);
    assert!(line.uplink.bytes_sent() > 1 << 20);
}

#[tokio::test]
async fn applied_is_told_too() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    line.uplink.send(batch(1, 1, 10));
    line.until(|event| (event == UplinkEvent::Applied(sequence(1))).then_some(()))
        .await;
}

#[tokio::test]
async fn sources_do_not_disturb_one_another() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let mut lines = Vec::new();
    for id in 1..=4 {
        let source = Source::paired_with(&receiver, id).await;
        let line = source.uplink(source.target());
        (1..=20).for_each(|number| line.uplink.send(batch(number, 2, 5000)));
        lines.push((source, line));
    }
    for (source, line) in &mut lines {
        line.stored(20).await;
        assert_eq!(memory.batches(source.id).len(), 20);
    }
}

#[tokio::test]
async fn a_restarted_receiver_is_found_again() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    line.uplink.send(batch(1, 1, 10));
    line.stored(1).await;
    let _receiver = receiver.restart(memory.clone()).await;
    line.uplink.send(batch(2, 1, 10));
    line.stored(2).await;
}

#[tokio::test]
async fn the_newer_live_connection_takes_over() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut older = source.uplink(source.target());
    older.connected().await;
    let mut newer = source.uplink(source.target());
    newer.connected().await;
    older.disconnected().await;
    drop(older);
    newer.uplink.send(batch(1, 1, 10));
    newer.stored(1).await;
}

#[tokio::test]
async fn a_refused_batch_halts_the_line_until_it_is_taken_back() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    memory.refuse(2);
    (1..=3).for_each(|number| line.uplink.send(batch(number, 1, 10)));
    let (refused, reason) = line
        .until(|event| match event {
            UplinkEvent::Rejected { sequence, reason } => Some((sequence, reason)),
            _ => None,
        })
        .await;
    assert_eq!(
        (refused, reason.as_str()),
        (sequence(2), "against the rules")
    );
    assert_eq!(line.connected().await, sequence(1));
    line.uplink.forget_unsent();
    line.uplink.send(batch(2, 2, 20));
    line.stored(2).await;
    assert_eq!(memory.batches(source.id)[1], batch(2, 2, 20));
}

#[tokio::test]
async fn batches_taken_back_under_way_end_the_connection() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    line.connected().await;
    memory.stall(true);
    line.uplink.send(batch(1, 1, 10));
    line.until(|event| matches!(event, UplinkEvent::Stalled { .. }).then_some(()))
        .await;
    line.uplink.forget_unsent();
    line.disconnected().await;
    memory.stall(false);
    // What was under way is stored sooner or later: the line has to say so before it goes on.
    line.stored(1).await;
}

async fn stalled(line: &mut Line) -> String {
    line.until(|event| match event {
        UplinkEvent::Stalled { reason } => Some(reason),
        _ => None,
    })
    .await
}

/// What an older connection finished has to be on the disk before a newer one is told what is.
#[tokio::test]
async fn a_new_connection_in_a_stall_is_told_why_it_has_to_wait() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    memory.stall(true);
    let mut older = source.uplink(source.target());
    older.uplink.send(batch(1, 1, 10));
    stalled(&mut older).await;
    drop(older);
    let mut newer = source.uplink(source.target());
    assert!(newer.disconnected().await.contains("disk full?"));
    assert!(stalled(&mut newer).await.contains("disk full?"));
    memory.stall(false);
    assert_eq!(newer.connected().await, sequence(1));
}

#[tokio::test]
async fn a_receiver_ends_in_the_middle_of_a_stall() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    memory.stall(true);
    line.uplink.send(batch(1, 1, 10));
    stalled(&mut line).await;
    let _receiver = receiver.restart(memory.clone()).await;
    line.disconnected().await;
    stalled(&mut line).await;
    memory.stall(false);
    line.stored(1).await;
}

#[tokio::test]
async fn a_stall_is_told_and_nothing_is_lost() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    memory.stall(true);
    line.uplink.send(batch(1, 1, 10));
    assert_eq!(stalled(&mut line).await, "disk full");
    memory.stall(false);
    line.until(|event| (event == UplinkEvent::Resumed).then_some(()))
        .await;
    line.stored(1).await;
}

#[tokio::test]
async fn a_failed_store_is_opened_anew() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    line.uplink.send(batch(1, 1, 10));
    line.stored(1).await;
    memory.fail();
    line.uplink.send(batch(2, 1, 10));
    line.disconnected().await;
    line.stored(2).await;
}

#[tokio::test]
async fn a_store_that_can_t_sync_is_opened_anew() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    memory.fail_sync();
    line.uplink.send(batch(1, 1, 10));
    line.disconnected().await;
    line.stored(1).await;
}

#[tokio::test]
async fn a_stranger_is_told_to_pair() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let stranger = Arc::new(Identity::ephemeral().unwrap());
    let mut line = Line::start(source.target(), stranger, source.id);
    assert!(line.disconnected().await.contains("pair again"));
}

#[tokio::test]
async fn a_certificate_speaks_for_its_own_source_only() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let identity = Arc::clone(&source.identity);
    let mut line = Line::start(source.target(), identity, SourceId([2; 16]));
    assert!(line.disconnected().await.contains("another source id"));
}

#[tokio::test]
async fn another_receiver_at_the_address_gets_nothing() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let Target::Tcp {
        address,
        mut fingerprint,
    } = source.target()
    else {
        unreachable!()
    };
    fingerprint[0] ^= 1;
    let mut line = source.uplink(Target::Tcp {
        address,
        fingerprint,
    });
    assert!(line.disconnected().await.contains("another certificate"));
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_what_to_do() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let target = Target::Tcp {
        address: address.clone(),
        fingerprint: [0; 32],
    };
    let identity = Arc::new(Identity::ephemeral().unwrap());
    let mut line = Line::start(target, identity, SourceId([1; 16]));
    let error = line.disconnected().await;
    assert!(
        error.contains(&address) && error.contains("everwrite-receiver serve"),
        "{error}"
    );
}
