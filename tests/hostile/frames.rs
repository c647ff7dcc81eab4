//! Bytes that are no frames, or frames that lie.

use everwrite_protocol::wire::PAYLOAD_BYTES_MAX;
use everwrite_protocol::wire::Role;
use everwrite_protocol::wire::frame::{FrameType, Header};
use everwrite_receiver::transport::{Frame, write_frame};
use tokio::io::AsyncWriteExt;

use crate::attacker::{Attacker, Line, ended, rejected, throw};
use crate::history::{GOOD, content, cut, cut_frame, part, part_frame, write};
use crate::scene::Scene;

/// A good conversation as bytes: hello, a part, the cut of the next batch.
async fn conversation(attacker: &Attacker) -> Vec<u8> {
    let content = content(GOOD + 1);
    let part = part(GOOD + 1, 0, vec![write(content.len())]);
    let frames = [
        attacker.hello(Role::Live),
        part_frame(&part, &content),
        cut_frame(&cut(GOOD + 1, 1)),
    ];
    let mut bytes = Vec::new();
    for frame in frames {
        write_frame(&mut bytes, &frame).await.unwrap();
    }
    bytes
}

/// Says this on a line of its own, and that it is all; waits for the peer to end the line, too.
async fn say(attacker: &Attacker, bytes: &[u8]) {
    let mut line = attacker.tls().await;
    throw(&mut line, bytes).await;
    let _ = line.shutdown().await;
    ended(&mut line).await;
}

#[tokio::test]
async fn a_conversation_cut_at_every_byte() {
    let scene = Scene::start().await;
    let bytes = conversation(&scene.attacker).await;
    for length in 0..bytes.len() {
        say(&scene.attacker, &bytes[..length]).await;
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn a_conversation_damaged_at_every_byte() {
    let scene = Scene::start().await;
    let bytes = conversation(&scene.attacker).await;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        say(&scene.attacker, &damaged).await;
    }
    let (_, stored) = scene.attacker.connect(Role::Query).await;
    assert_eq!(stored, GOOD, "a damaged batch was taken");
    scene.unharmed().await;
}

/// A header that is whole, with any lengths.
fn header(frame_type: FrameType, lengths: [usize; 3], compressed: bool) -> [u8; 32] {
    let [encoded_bytes, payload_bytes, raw_bytes] = lengths;
    let honest = Header::new(frame_type, b"", b"");
    let lying = Header {
        encoded_bytes,
        payload_bytes,
        raw_bytes,
        compressed,
        ..honest
    };
    lying.encode()
}

#[tokio::test]
async fn lengths_beyond_all_measure() {
    const HUGE: usize = u32::MAX as usize;
    let scene = Scene::start().await;
    let lengths = [
        [HUGE, 0, 0],
        [0, HUGE, HUGE],
        [0, 0, HUGE],
        [HUGE, HUGE, HUGE],
        [(1 << 20) + 1, 0, 0],
        [0, 100, 99],
        [1 << 20, 1 << 20, 1 << 20],
    ];
    for frame_type in [FrameType::Hello, FrameType::Enrol, FrameType::Part] {
        for (lengths, compressed) in lengths.iter().flat_map(|l| [(*l, false), (*l, true)]) {
            let header = header(frame_type, lengths, compressed);
            say(&scene.attacker, &header).await;
            let (mut line, _) = scene.attacker.connect(Role::Live).await;
            throw(&mut line, &header).await;
            let _ = line.shutdown().await;
            ended(&mut line).await;
        }
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn garbage_after_the_welcome() {
    let scene = Scene::start().await;
    let noise = scene.pair.place.seed.bytes(1 << 20);
    for role in [Role::Live, Role::Query] {
        let (mut line, _) = scene.attacker.connect(role).await;
        throw(&mut line, &noise).await;
        ended(&mut line).await;
        for frame_type in FRAME_TYPES {
            let (mut line, _) = scene.attacker.connect(role).await;
            let nonsense = Frame {
                encoded: noise[..100].to_vec(),
                ..Frame::empty(frame_type)
            };
            throw_frame(&mut line, &nonsense).await;
            let _ = line.shutdown().await;
            ended(&mut line).await;
        }
    }
    scene.unharmed().await;
}

const FRAME_TYPES: [FrameType; 11] = [
    FrameType::Hello,
    FrameType::Welcome,
    FrameType::Enrol,
    FrameType::Enrolled,
    FrameType::Part,
    FrameType::Cut,
    FrameType::Reply,
    FrameType::Ping,
    FrameType::Pong,
    FrameType::Query,
    FrameType::Answer,
];

async fn throw_frame(line: &mut Line, frame: &Frame<'_>) {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, frame).await.unwrap();
    throw(line, &bytes).await;
}

/// A part with this payload, as if it came out as `raw_bytes`.
fn compressed(payload: Vec<u8>, raw_bytes: usize) -> Frame<'static> {
    let part = part(GOOD + 1, 0, vec![write(16)]);
    Frame {
        raw_bytes,
        compressed: true,
        ..part_frame(&part, &payload)
    }
}

/// A zstd frame whose header says that 2^60 bytes come out of it.
fn boast() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
    frame.extend_from_slice(&(1u64 << 60).to_le_bytes());
    // One last block: a byte, repeated 128 KiB.
    frame.extend_from_slice(&[0b0000_0011, 0, 0x10, 7]);
    frame
}

#[tokio::test]
async fn bombs_and_payloads_of_another_length() {
    let scene = Scene::start().await;
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 19).unwrap();
    assert!(bomb.len() < PAYLOAD_BYTES_MAX);
    let small = zstd::bulk::compress(&[7; 4096], 1).unwrap();
    let frames = [
        compressed(bomb.clone(), PAYLOAD_BYTES_MAX),
        compressed(bomb, 0),
        compressed(boast(), PAYLOAD_BYTES_MAX),
        compressed(small.clone(), 4095),
        compressed(small.clone(), 4097),
        compressed(small[..small.len() - 1].to_vec(), 4096),
        compressed(scene.pair.place.seed.bytes(5000), 5000),
        compressed(Vec::new(), 100),
    ];
    for frame in &frames {
        let (mut line, _) = scene.attacker.connect(Role::Live).await;
        throw_frame(&mut line, frame).await;
        let reason = rejected(&mut line).await;
        assert!(reason.contains("decompress"), "{reason}");
    }
    scene.unharmed().await;
}
