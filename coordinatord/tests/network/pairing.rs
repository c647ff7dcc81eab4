//! Codes: good, wrong, used, for another receiver.

use everwrite_coordinatord::network_backup::{Identity, PairError, pair};
use everwrite_protocol::ids::SourceId;
use everwrite_protocol::wire::Refusal;
use everwrite_receiver::pairing::PairingCode;

use crate::memory::Memory;
use crate::rig::Receiver;

const SOURCE: SourceId = SourceId([1; 16]);

fn identity() -> Identity {
    Identity::ephemeral().unwrap()
}

#[tokio::test]
async fn a_good_code_tells_whom_to_trust() {
    let receiver = Receiver::start(Memory::default()).await;
    let code = receiver.code();
    let paired = pair(&code, &identity(), SOURCE).await.unwrap();
    assert_eq!(paired.address, receiver.address.to_string());
    assert_eq!(
        paired.fingerprint,
        code.parse::<PairingCode>().unwrap().fingerprint
    );
}

#[tokio::test]
async fn a_code_is_good_once() {
    let receiver = Receiver::start(Memory::default()).await;
    let code = receiver.code();
    pair(&code, &identity(), SOURCE).await.unwrap();
    let error = pair(&code, &identity(), SOURCE).await.unwrap_err();
    assert!(
        matches!(error, PairError::Refused(Refusal::Secret)),
        "{error}"
    );
    assert!(error.to_string().contains("everwrite-receiver pair"));
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_the_right_one_still_good() {
    let receiver = Receiver::start(Memory::default()).await;
    let good: PairingCode = receiver.code().parse().unwrap();
    let mut wrong = good.clone();
    wrong.secret[0] ^= 1;
    let error = pair(&wrong.to_string(), &identity(), SOURCE)
        .await
        .unwrap_err();
    assert!(
        matches!(error, PairError::Refused(Refusal::Secret)),
        "{error}"
    );
    pair(&good.to_string(), &identity(), SOURCE).await.unwrap();
}

#[tokio::test]
async fn a_code_for_another_receiver_gets_no_secret() {
    let receiver = Receiver::start(Memory::default()).await;
    let mut code: PairingCode = receiver.code().parse().unwrap();
    code.fingerprint[0] ^= 1;
    let error = pair(&code.to_string(), &identity(), SOURCE)
        .await
        .unwrap_err();
    assert!(matches!(error, PairError::NotTheReceiver { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_code_is_told_without_a_connection() {
    let error = pair("127.0.0.1:1", &identity(), SOURCE).await.unwrap_err();
    assert!(matches!(error, PairError::Code(_)), "{error}");
}
