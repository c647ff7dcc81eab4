//! A line that breaks at any byte loses nothing and doubles nothing.

use crate::batches::batch;
use crate::memory::Memory;
use crate::proxy::Proxy;
use crate::rig::{Receiver, Source};

const BATCHES: u64 = 40;

#[tokio::test]
async fn cut_at_many_places_every_batch_is_stored_once() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let proxy = Proxy::start(receiver.address).await;
    let sent: Vec<_> = (1..=BATCHES)
        .map(|number| batch(number, 3, 20_000))
        .collect();
    let mut line = source.uplink(source.target_by(&proxy.address));
    // A batch is some 33 kB on the line: the cuts fall into handshakes, headers, parts and cuts.
    for (cut, bytes) in [700, 1500, 20_001, 33_333, 70_000, 123_456]
        .into_iter()
        .enumerate()
    {
        proxy.cut_after(bytes);
        let first = cut * 6;
        sent[first..first + 6]
            .iter()
            .for_each(|batch| line.uplink.send(batch.clone()));
        line.stored(first as u64 + 6).await;
    }
    sent[36..]
        .iter()
        .for_each(|batch| line.uplink.send(batch.clone()));
    line.stored(BATCHES).await;
    assert_eq!(memory.batches(source.id), sent);
    assert!(proxy.connections() >= 5, "{}", proxy.connections());
}

#[tokio::test]
async fn batches_that_wait_for_a_line_are_sent_when_it_is_back() {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let proxy = Proxy::start(receiver.address).await;
    let mut line = source.uplink(source.target_by(&proxy.address));
    line.connected().await;
    proxy.cut();
    line.disconnected().await;
    (1..=5).for_each(|number| line.uplink.send(batch(number, 1, 1000)));
    line.stored(5).await;
    assert_eq!(memory.batches(source.id).len(), 5);
}
