//! Questions: answered in order, again after a cut, or not at all in time.

use std::sync::Arc;
use std::time::Duration;

use everwrite_coordinatord::network_backup::{Ask, AskError, QueryClient};
use everwrite_protocol::ids::{FileId, SequenceNumber};
use everwrite_protocol::wire::{Answer, Query, QueryError};
use tokio::time::timeout;

use crate::memory::Memory;
use crate::proxy::Proxy;
use crate::rig::{DEADLINE, Receiver, Source};

fn digest_of(file: u64) -> Query {
    let after = SequenceNumber(0);
    Query::WholeDigest {
        file: FileId(file),
        after,
    }
}

fn size((answer, payload): (Answer, Vec<u8>)) -> u64 {
    let Answer::WholeDigest { size, .. } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(payload, vec![size as u8; 1 << 20]);
    size
}

struct Setup {
    memory: Memory,
    client: QueryClient,
    proxy: Proxy,
    _receiver: Receiver,
}

async fn setup() -> Setup {
    let memory = Memory::default();
    let receiver = Receiver::start(memory.clone()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let proxy = Proxy::start(receiver.address).await;
    let target = source.target_by(&proxy.address);
    let client = QueryClient::connect(target, Arc::clone(&source.identity), source.id);
    Setup {
        memory,
        client,
        proxy,
        _receiver: receiver,
    }
}

#[tokio::test]
async fn an_answer_comes_with_its_payload() {
    let setup = setup().await;
    assert_eq!(setup.proxy.connections(), 0);
    assert_eq!(size(setup.client.ask(digest_of(5)).await.unwrap()), 5);
    assert_eq!(size(setup.client.ask(digest_of(6)).await.unwrap()), 6);
    assert_eq!(setup.proxy.connections(), 1);
}

#[tokio::test]
async fn an_uplink_has_a_client_too() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let line = source.uplink(source.target());
    assert_eq!(
        size(line.uplink.queries().ask(digest_of(5)).await.unwrap()),
        5
    );
}

#[tokio::test]
async fn many_at_once_are_answered_in_order() {
    let setup = setup().await;
    let answers = setup
        .client
        .ask_all((0..50).map(digest_of).collect())
        .await
        .unwrap();
    assert_eq!(
        answers.into_iter().map(size).collect::<Vec<_>>(),
        (0..50).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn the_receiver_s_no_is_an_error_and_the_line_goes_on() {
    let setup = setup().await;
    let no = Query::Points {
        before: None,
        limit: 77,
    };
    let error = setup.client.ask(no).await.unwrap_err();
    assert!(matches!(error, AskError::Failed(QueryError::Invalid(text)) if text == "77"));
    assert_eq!(size(setup.client.ask(digest_of(1)).await.unwrap()), 1);
    assert_eq!(setup.proxy.connections(), 1);
}

#[tokio::test]
async fn what_was_on_a_line_that_broke_is_asked_again() {
    let setup = setup().await;
    setup.client.ask(digest_of(1)).await.unwrap();
    setup.memory.mute(true);
    let client = setup.client.clone();
    let asked = tokio::spawn(async move { client.ask_all((0..5).map(digest_of).collect()).await });
    setup.proxy.cut();
    timeout(DEADLINE, async {
        while setup.proxy.connections() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a second connection");
    setup.memory.mute(false);
    let answers = timeout(DEADLINE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(
        answers.into_iter().map(size).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
}

#[tokio::test]
async fn patience_ends_and_the_next_question_gets_its_own_answer() {
    let setup = setup().await;
    setup.memory.mute(true);
    let patience = Duration::from_millis(50);
    let error = setup
        .client
        .ask_within(digest_of(1), patience)
        .await
        .unwrap_err();
    assert!(matches!(error, AskError::Deadline(_)), "{error}");
    setup.memory.mute(false);
    assert_eq!(size(setup.client.ask(digest_of(2)).await.unwrap()), 2);
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    let setup = setup().await;
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let stranger = everwrite_coordinatord::network_backup::Identity::ephemeral().unwrap();
    let client = QueryClient::connect(source.target(), Arc::new(stranger), source.id);
    let error = client.ask(digest_of(1)).await.unwrap_err();
    assert!(error.to_string().contains("pair again"), "{error}");
    drop(setup);
}

/// Whoever makes batches has better things to do than to wait for a receiver that is not there.
#[tokio::test]
async fn nobody_waits_for_a_receiver_whose_uplink_is_down() {
    let receiver = Receiver::start(Memory::default()).await;
    let source = Source::paired_with(&receiver, 1).await;
    let line = source.uplink(source.target_by("127.0.0.1:1"));
    let queries = line.uplink.queries();
    let asked = [1, 2].map(|file| queries.ask(digest_of(file)));
    for answer in asked {
        // Well before a question's own time is up.
        let answer = timeout(DEADLINE, answer).await.expect("an answer");
        assert!(matches!(answer, Err(AskError::Lost)), "{answer:?}");
    }
}
