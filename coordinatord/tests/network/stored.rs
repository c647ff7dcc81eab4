//! The whole way into the real store: over TLS, and embedded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use everwrite_coordinatord::delta::{Mode, Piece, ladder};
use everwrite_coordinatord::network_backup::{
    AskError, Batch, Identity, QueryClient, Target, UplinkEvent,
};
use everwrite_protocol::ids::{FileId, Name, SourceId, Timestamp};
use everwrite_protocol::wire::{
    Answer, Attributes, BackupCommand, Kind, PAYLOAD_BYTES_MAX, Part, Query,
};
use everwrite_receiver::network_backup::StoreDirectory;

use crate::batches::{batch, origin, sequence};
use crate::proxy::Proxy;
use crate::rig::{Line, Receiver, Source};

const SOURCE: SourceId = SourceId([1; 16]);
const ROOT: FileId = FileId(1);
const FILE: FileId = FileId(2);

fn attributes(kind: Kind, size: u64) -> Attributes {
    Attributes {
        kind,
        mode: 0o700,
        // Whoever runs the test may give files to itself.
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        user: None,
        group: None,
        modified: Timestamp(1_700_000_000_000_000_000),
        size,
        device_number: 0,
        target: Vec::new(),
        xattrs: Vec::new(),
    }
}

fn attach(parent: FileId, name: &str, file: FileId) -> BackupCommand {
    let name = Name::new(name).unwrap();
    BackupCommand::Attach {
        parent,
        name,
        file,
        origin: 0,
    }
}

/// Batch 1: the root `data` with the file `file` of this content.
fn first(content: &[u8]) -> Batch {
    let directory = attributes(Kind::Directory, 0);
    let file = attributes(Kind::Regular, content.len() as u64);
    let names = vec![
        BackupCommand::Root {
            file: ROOT,
            path: b"/data".to_vec(),
        },
        BackupCommand::Create {
            file: ROOT,
            attributes: directory,
            origin: 0,
        },
        attach(FileId::TOP, "data", ROOT),
        BackupCommand::Create {
            file: FILE,
            attributes: file,
            origin: 0,
        },
        attach(ROOT, "file", FILE),
    ];
    let writes = content
        .chunks(PAYLOAD_BYTES_MAX)
        .enumerate()
        .map(|(index, chunk)| {
            let write = BackupCommand::Write {
                file: FILE,
                offset: (index * PAYLOAD_BYTES_MAX) as u64,
                length: chunk.len() as u32,
                payload_offset: 0,
                origin: 0,
            };
            (vec![write], chunk.to_vec())
        });
    numbered(1, [(names, Vec::new())].into_iter().chain(writes))
}

fn numbered(number: u64, parts: impl Iterator<Item = (Vec<BackupCommand>, Vec<u8>)>) -> Batch {
    let part = |(index, (commands, payload)): (usize, (Vec<BackupCommand>, Vec<u8>))| {
        let part = Part {
            sequence: sequence(number),
            part: index as u32,
            origins: vec![origin()],
            commands,
        };
        (part, payload)
    };
    let parts: Vec<_> = parts.enumerate().map(part).collect();
    let mut batch = Batch {
        cut: batch(number, 0, 0).cut,
        parts,
    };
    batch.cut.parts = batch.parts.len() as u32;
    batch
}

/// A batch that overwrites the start of the file.
fn overwrite(number: u64, bytes: &[u8]) -> Batch {
    let write = BackupCommand::Write {
        file: FILE,
        offset: 0,
        length: bytes.len() as u32,
        payload_offset: 0,
        origin: 0,
    };
    numbered(number, [(vec![write], bytes.to_vec())].into_iter())
}

fn mirrored(store: &Path) -> PathBuf {
    store
        .join("src")
        .join(SOURCE.to_string())
        .join("mirror/data/file")
}

async fn applied(line: &mut Line, number: u64) {
    line.until(|event| match event {
        UplinkEvent::Applied(applied) | UplinkEvent::Connected { applied, .. } => {
            (applied.0 >= number).then_some(())
        }
        _ => None,
    })
    .await;
}

async fn stat_size(client: &QueryClient, number: u64) -> Result<u64, AskError> {
    let path = b"data/file".to_vec();
    match client
        .ask(Query::Stat {
            path,
            at: sequence(number),
        })
        .await?
    {
        (Answer::Stat(entry), _) => Ok(entry.attributes.size),
        (answer, _) => panic!("{answer:?}"),
    }
}

async fn receiver_with_store() -> (Receiver, tempfile::TempDir) {
    let store = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(StoreDirectory(store.path().to_owned())).await;
    (receiver, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_in_the_mirror_and_in_the_history() {
    let (receiver, store) = receiver_with_store().await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    line.uplink.send(first(b"first content"));
    line.uplink.send(overwrite(2, b"FIRST"));
    applied(&mut line, 2).await;
    assert_eq!(
        std::fs::read(mirrored(store.path())).unwrap(),
        b"FIRST content"
    );
    let client = line.uplink.queries();
    for (at, wanted) in [(1, b"first content"), (2, b"FIRST content")] {
        let at = sequence(at);
        let read = Query::Read {
            file: FILE,
            at,
            offset: 0,
        };
        let (_, payload) = client.ask(read).await.unwrap();
        assert_eq!(payload, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_and_a_restart_lose_nothing() {
    let (receiver, store) = receiver_with_store().await;
    let source = Source::paired_with(&receiver, 1).await;
    let proxy = Proxy::start(receiver.address).await;
    let mut line = source.uplink(source.target_by(&proxy.address));
    line.uplink.send(first(&[b'.'; 5000]));
    for number in 2..=30 {
        if number % 5 == 0 {
            proxy.cut_after(number * 97);
        }
        line.uplink.send(overwrite(number, &[number as u8; 300]));
        line.stored(number).await;
    }
    let receiver = receiver
        .restart(StoreDirectory(store.path().to_owned()))
        .await;
    line.uplink.send(overwrite(31, b"last"));
    applied(&mut line, 31).await;
    let content = std::fs::read(mirrored(store.path())).unwrap();
    assert_eq!(
        (&content[..4], &content[4..300]),
        (&b"last"[..], &[30; 296][..])
    );
    drop(receiver);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_inserted_into_50_mib_is_a_small_plan() {
    let (receiver, _store) = receiver_with_store().await;
    let source = Source::paired_with(&receiver, 1).await;
    let mut line = source.uplink(source.target());
    let mut content = vec![0; 50 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    line.uplink.send(first(&content));
    line.stored(1).await;
    let base_length = content.len() as u64;
    content.insert(1000, 7);
    let (length, after) = (content.len() as u64, sequence(1));
    let client = line.uplink.queries();
    let plan = ladder(
        &content,
        length,
        FILE,
        base_length,
        after,
        &client,
        Mode::Rebuild,
    );
    let plan = plan.await.unwrap();
    let data = plan.pieces.iter().map(|piece| match piece {
        Piece::Data { length, .. } => *length,
        _ => 0,
    });
    assert!(data.sum::<u64>() < 8 << 10, "{:?}", plan.pieces);
    assert_eq!(plan.digest, *blake3::hash(&content).as_bytes());
}

struct Embedded {
    store: tempfile::TempDir,
    identity: Arc<Identity>,
}

impl Embedded {
    fn new() -> Self {
        let identity = Arc::new(Identity::ephemeral().unwrap());
        Self {
            store: tempfile::tempdir().unwrap(),
            identity,
        }
    }

    fn target(&self) -> Target {
        Target::Directory(self.store.path().join("store"))
    }

    fn uplink(&self) -> Line {
        Line::start(self.target(), Arc::clone(&self.identity), SOURCE)
    }

    /// As the command line asks.
    fn client(&self) -> QueryClient {
        QueryClient::connect(self.target(), Arc::clone(&self.identity), SOURCE)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_receiver_stores_and_answers_everybody() {
    let embedded = Embedded::new();
    let mut line = embedded.uplink();
    line.uplink.send(first(b"content"));
    line.stored(1).await;
    // Stored is enough: who asks waits until it is applied.
    assert_eq!(stat_size(&embedded.client(), 1).await.unwrap(), 7);
    assert_eq!(stat_size(&line.uplink.queries(), 1).await.unwrap(), 7);
    assert_eq!(
        std::fs::read(mirrored(&embedded.store.path().join("store"))).unwrap(),
        b"content"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_nobody_has_open_is_opened_for_questions() {
    let embedded = Embedded::new();
    let mut line = embedded.uplink();
    line.uplink.send(first(b"content"));
    line.stored(1).await;
    drop(line);
    let client = embedded.client();
    assert_eq!(stat_size(&client, 1).await.unwrap(), 7);
    // And given back, for a coordinator that starts.
    drop(client);
    let mut line = embedded.uplink();
    line.uplink.send(overwrite(2, b"C"));
    line.stored(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_makes_no_store() {
    let embedded = Embedded::new();
    let error = stat_size(&embedded.client(), 1).await.unwrap_err();
    assert!(error.to_string().contains("no store"), "{error}");
    assert!(!embedded.store.path().join("store").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_coordinators_can_t_have_one_store() {
    let embedded = Embedded::new();
    let mut line = embedded.uplink();
    line.connected().await;
    assert!(embedded.uplink().disconnected().await.contains("in use"));
}
