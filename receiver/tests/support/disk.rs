//! A disk that remembers every write and every flush, to lose power at any of them.
//!
//! It is one file, `image`, in a file system of its own (FUSE, spoken here): a loop device over it hands
//! through what the kernel's file system writes, and asks for a flush where that wants one. What was
//! written since the last flush is a disk's to lose: block by block, any version since then may be the
//! one that lasted.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rustix::mount::{MountFlags, UnmountFlags};

use super::random::Random;

/// What a disk writes whole. (ext4 needs as much: its superblock is two sectors of 512 bytes.)
const BLOCK: usize = 4096;
const EMPTY: [u8; BLOCK] = [0; BLOCK];
const WRITE_BYTES_MAX: u32 = 128 << 10;

/// What a disk holds: blocks that were ever written.
#[derive(Clone, Default)]
pub(crate) struct Image(BTreeMap<u64, Arc<[u8; BLOCK]>>);

impl Image {
    /// What a file holds.
    pub(crate) fn load(mut file: &File) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut image = Self::default();
        image.write(0, &bytes);
        Ok(image)
    }

    /// Has a file hold it that holds nothing.
    pub(crate) fn save(&self, file: &File) -> std::io::Result<()> {
        let mut blocks = self.0.iter().filter(|(_, block)| ***block != EMPTY);
        blocks.try_for_each(|(number, block)| file.write_all_at(&block[..], number * BLOCK as u64))
    }

    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        let mut at = offset;
        while bytes.len() < length {
            let inner = (at % BLOCK as u64) as usize;
            let some = (BLOCK - inner).min(length - bytes.len());
            match self.0.get(&(at / BLOCK as u64)) {
                Some(block) => bytes.extend_from_slice(&block[inner..inner + some]),
                None => bytes.resize(bytes.len() + some, 0),
            }
            at += some as u64;
        }
        bytes
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, piece) in by_blocks(offset, data) {
            let block = self.0.entry(at / BLOCK as u64);
            let block = block.or_insert_with(|| Arc::new([0; BLOCK]));
            let inner = (at % BLOCK as u64) as usize;
            Arc::make_mut(block)[inner..inner + piece.len()].copy_from_slice(piece);
        }
    }
}

/// What happened to a disk.
pub(crate) enum Event {
    Write(u64, Vec<u8>),
    /// All before it lasts.
    Flush,
    /// Somebody was told that this batch is stored; maybe by one that had just begun, and found it so.
    Stored {
        batch: u64,
        found: bool,
    },
}

#[derive(Default)]
struct State {
    image: Image,
    events: Vec<Event>,
}

/// A disk in memory, shared with whoever serves it.
#[derive(Clone)]
pub(crate) struct Disk {
    bytes: u64,
    state: Arc<Mutex<State>>,
}

impl Disk {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            state: Arc::default(),
        }
    }

    /// Another disk takes its place, of which nothing has happened yet.
    pub(crate) fn replace(&self, image: Image) {
        *self.state() = State {
            image,
            events: Vec::new(),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Remembers when somebody was told so.
    pub(crate) fn stored(&self, batch: u64, found: bool) {
        self.state().events.push(Event::Stored { batch, found });
    }

    /// What happened since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut state = self.state();
        state.image.write(offset, data);
        state.events.push(Event::Write(offset, data.to_vec()));
    }
}

/// A disk after a loss of power, and the last batch that somebody had been told of before.
pub(crate) fn after_power_loss(
    before: &Image,
    events: &[Event],
    at: usize,
    random: &mut Random,
) -> (Image, u64) {
    let events = &events[..at];
    let flushed = events
        .iter()
        .rposition(|event| matches!(event, Event::Flush));
    let (lasting, loose) = events.split_at(flushed.unwrap_or(0));
    let mut image = before.clone();
    for event in lasting {
        if let Event::Write(offset, data) = event {
            image.write(*offset, data);
        }
    }
    lose(&mut image, loose, random);
    let told = events.iter().map(|event| match event {
        Event::Stored { batch, .. } => *batch,
        _ => 0,
    });
    (image, told.max().unwrap_or(0))
}

/// Of each block, some version since the last flush lasts: all as likely in some disks, the oldest or
/// the newest in others.
fn lose(image: &mut Image, loose: &[Event], random: &mut Random) {
    let mut versions: BTreeMap<u64, Vec<(u64, &[u8])>> = BTreeMap::new();
    for event in loose {
        if let Event::Write(offset, data) = event {
            for (at, piece) in by_blocks(*offset, data) {
                versions
                    .entry(at / BLOCK as u64)
                    .or_default()
                    .push((at, piece));
            }
        }
    }
    let kind = random.below(4);
    for versions in versions.into_values() {
        let count = versions.len() as u64;
        let lasted = match kind {
            0 => 0,
            1 => count - random.below(2),
            _ => random.below(count + 1),
        };
        for (at, piece) in &versions[..lasted as usize] {
            image.write(*at, piece);
        }
    }
}

/// What is written, in pieces that lie in one block each.
fn by_blocks(offset: u64, mut data: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut pieces) = (offset, Vec::new());
    while !data.is_empty() {
        let some = (BLOCK - (at % BLOCK as u64) as usize).min(data.len());
        pieces.push((at, &data[..some]));
        at += some as u64;
        data = &data[some..];
    }
    pieces
}

/// A disk as a file in a directory, until dropped.
pub(crate) struct Served {
    at: PathBuf,
    server: Option<JoinHandle<()>>,
    guard: Child,
}

impl Served {
    pub(crate) fn new(disk: &Disk, at: &Path) -> std::io::Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("disk", at, "fuse", flags, &*options)?;
        let disk = disk.clone();
        let server = std::thread::spawn(move || serve(&device, &disk));
        Ok(Self {
            at: at.to_owned(),
            server: Some(server),
            guard: guard(at)?,
        })
    }
}

/// A process that is killed while its own threads wait for the disk it serves would never end: another
/// one waits for that, and has the kernel give the disk up.
fn guard(at: &Path) -> std::io::Result<Child> {
    const WAIT: &str = "while s=$(cut -d' ' -f3 /proc/$0/stat) && [ $s != Z ]; do sleep 1; done
        mount -t fusectl none /sys/fs/fuse/connections
        echo 1 > /sys/fs/fuse/connections/$1/abort";
    let connection = rustix::fs::minor(std::fs::metadata(at)?.dev());
    let mut guard = Command::new("setsid");
    guard.args(["sh", "-c", WAIT]);
    guard.args([std::process::id().to_string(), connection.to_string()]);
    let silent = [Stdio::null(), Stdio::null(), Stdio::null()];
    let [input, output, errors] = silent;
    guard.stdin(input).stdout(output).stderr(errors).spawn()
}

impl Drop for Served {
    fn drop(&mut self) {
        let unmounted = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
        if let (Ok(()), Some(server)) = (unmounted, self.server.take()) {
            drop(server.join());
        }
        // The next disk may have the number of this one: it is none of the guard's.
        if self.guard.kill().is_ok() {
            drop(self.guard.wait());
        }
    }
}

/// Answers requests until the file system is unmounted.
fn serve(mut device: &File, disk: &Disk) {
    let mut buffer = vec![0; WRITE_BYTES_MAX as usize + BLOCK];
    loop {
        match device.read(&mut buffer) {
            Ok(length) => {
                let request = Request(&buffer[..length]);
                if let Some(reply) = request.answer(disk) {
                    // A request may have been given up meanwhile.
                    let _ = device.write_all(&reply);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return,
            // Interrupted, or a request that was taken back.
            Err(_) => {}
        }
    }
}

const ROOT: u64 = 1;
const IMAGE: u64 = 2;

/// A request as in `linux/fuse.h`.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn answer(&self, disk: &Disk) -> Option<Vec<u8>> {
        let node = self.u64(16);
        let said = match self.u32(4) {
            1 if self.0[40..].starts_with(b"image\0") => Ok(entry(disk)),
            1 => Err(libc::ENOENT),
            // Forgets and interrupts have no answer.
            2 | 36 | 42 => return None,
            3 | 4 => Ok([words(&[3600, 0]), attributes(node, disk.bytes)].concat()),
            // Without a cache of the kernel's: the disk may be another the next time.
            14 => Ok(words(&[0, 1])),
            15 => Ok(disk.state().image.read(self.u64(48), self.u32(56) as usize)),
            16 => {
                disk.write(self.u64(48), &self.0[80..]);
                Ok(words(&[u64::from(self.u32(56))]))
            }
            17 => Ok(vec![0; 80]),
            20 => {
                disk.state().events.push(Event::Flush);
                Ok(Vec::new())
            }
            18 | 25 | 38 => Ok(Vec::new()),
            26 => Ok(self.initial()),
            43 => Err(libc::EOPNOTSUPP),
            _ => Err(libc::ENOSYS),
        };
        Some(self.framed(said))
    }

    /// Version 7.31, large writes.
    fn initial(&self) -> Vec<u8> {
        let big_writes = 1 << 5 | 1 << 22;
        let mut said = [7u32, 31, 1 << 20, big_writes]
            .map(u32::to_ne_bytes)
            .concat();
        said.extend([0; 4]);
        said.extend(WRITE_BYTES_MAX.to_ne_bytes());
        said.extend(1u32.to_ne_bytes());
        said.extend((WRITE_BYTES_MAX / BLOCK as u32).to_ne_bytes());
        said.resize(64, 0);
        said
    }

    fn framed(&self, said: Result<Vec<u8>, i32>) -> Vec<u8> {
        let error = said.as_ref().err().copied().unwrap_or(0);
        let body = said.unwrap_or_default();
        let mut reply = (16 + body.len() as u32).to_ne_bytes().to_vec();
        reply.extend((-error).to_ne_bytes());
        reply.extend(self.u64(8).to_ne_bytes());
        reply.extend(body);
        reply
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn entry(disk: &Disk) -> Vec<u8> {
    let known = words(&[IMAGE, 0, 3600, 3600, 0]);
    [known, attributes(IMAGE, disk.bytes)].concat()
}

fn attributes(node: u64, bytes: u64) -> Vec<u8> {
    let (mode, size) = match node {
        ROOT => (libc::S_IFDIR | 0o755, 0),
        _ => (libc::S_IFREG | 0o600, bytes),
    };
    let mut said = words(&[node, size, size / 512, 0, 0, 0]);
    let numbers = [0, 0, 0, mode, 1, 0, 0, 0, BLOCK as u32, 0];
    said.extend(numbers.map(u32::to_ne_bytes).concat());
    said
}
