//! The receiver's machine: the real store, in a directory, without threads; killed and opened again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everwrite_protocol::codec;
use everwrite_protocol::ids::{SequenceNumber, SourceId};
use everwrite_protocol::wire::{Answer, BackupCommand, Cut, Part, Query};
use everwrite_receiver::log::Faults;
use everwrite_receiver::network_backup::{Destination, DestinationError, Destinations, Sources};
use everwrite_receiver::store::{Hands, Settings, SourceStore, StoreEvent};
use everwrite_receiver::transport::Frame;

use crate::dice::Dice;
use crate::network::Network;
use crate::trace::Trace;

pub(crate) const SOURCE: SourceId = SourceId([7; 16]);

/// Batches that a coordinator may have under way, and those of the attempt at a cut that follows.
const UNDER_WAY_MAX: u64 = 38;

/// Small segments, so that every run has many.
const SETTINGS: Settings = Settings {
    hands: Hands::Callers,
    segment_bytes: 64 << 10,
};

/// How a batch came.
#[derive(Clone)]
pub(crate) struct Came {
    pub(crate) cut: Cut,
    content: String,
}

#[derive(Clone)]
pub(crate) struct Machine {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
    network: Network,
    dice: Dice,
    trace: Trace,
}

#[derive(Default)]
struct State {
    /// `None`: switched off.
    store: Option<Arc<SourceStore>>,
    sources: Option<Arc<Sources>>,
    /// How often it was started.
    starts: u64,
    full: bool,
    /// Longest time that what came waits until it is written, in milliseconds.
    late_ms: u64,
    /// Acknowledged to the coordinator, ever.
    acknowledged: SequenceNumber,
    /// Batches that were taken, and parts of the one that is coming.
    batches: BTreeMap<u64, Came>,
    parts: Vec<String>,
    /// Which rule was broken.
    broken: Vec<String>,
}

impl Machine {
    /// One whose disk takes so many milliseconds at most.
    pub(crate) fn new(
        directory: PathBuf,
        late_ms: u64,
        network: Network,
        dice: Dice,
        trace: Trace,
    ) -> Self {
        let state = State {
            late_ms,
            ..State::default()
        };
        Self {
            directory,
            state: Arc::new(Mutex::new(state)),
            network,
            dice,
            trace,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(&self) {
        let sources = Sources::served_by(Hands::Callers, self.clone());
        let sources = Arc::new(sources);
        let mut state = self.state();
        state.starts += 1;
        state.full = false;
        state.sources = Some(Arc::clone(&sources));
        drop(state);
        self.network.set_receiver(Some(sources));
    }

    /// What it had in memory is gone.
    pub(crate) fn kill(&self) {
        self.network.set_receiver(None);
        let mut state = self.state();
        let (store, sources) = (state.store.take(), state.sources.take());
        drop(state);
        drop(store);
        if let Some(sources) = sources {
            sources.close();
        }
        self.network.close();
    }

    /// The same while it applies batches to the mirror, after so many of the steps that it makes durable.
    pub(crate) fn kill_in_mirror(&self, steps: u32) {
        let store = self.state().store.clone();
        if let Some(store) = store {
            let dies_after = Some(steps);
            let full = false;
            store.set_faults(Faults { full, dies_after });
            store.drive_log();
            store.drive_mirror();
        }
        self.kill();
    }

    pub(crate) fn set_full(&self, full: bool) {
        let mut state = self.state();
        state.full = full;
        let store = state.store.clone();
        drop(state);
        if let Some(store) = store {
            let dies_after = None;
            store.set_faults(Faults { full, dies_after });
            store.drive_log();
        }
    }

    pub(crate) fn store(&self) -> Option<Arc<SourceStore>> {
        self.state().store.clone()
    }

    /// All that came, by number.
    pub(crate) fn batches(&self) -> Vec<Came> {
        self.state().batches.values().cloned().collect()
    }

    /// Last batch that was told to be stored.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.state().acknowledged.0
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.state().broken.clone()
    }

    fn breaks(&self, rule: String) {
        self.trace.note(format!("BROKEN: {rule}"));
        self.state().broken.push(rule);
    }

    fn heard(&self, event: &StoreEvent) {
        if let StoreEvent::Stored(sequence) = event {
            self.trace.note(format!("stored {}", sequence.0));
            let mut state = self.state();
            state.acknowledged = state.acknowledged.max(*sequence);
        }
    }

    /// What the threads of a store do, from time to time.
    fn work(&self, store: &Arc<SourceStore>) {
        let this = self.clone();
        let weak = Arc::downgrade(store);
        let dice = self.dice.clone();
        tokio::spawn(async move {
            loop {
                let late_ms = this.state().late_ms;
                tokio::time::sleep(Duration::from_millis(1) + dice.ms(late_ms)).await;
                let Some(store) = weak.upgrade() else { return };
                store.drive_log();
                if dice.percent(6) && !this.state().full {
                    store.drive_mirror();
                }
            }
        });
    }

    fn opened(&self, stored: SequenceNumber) {
        let mut state = self.state();
        let acknowledged = state.acknowledged;
        // What was not stored may come again otherwise.
        state.batches.retain(|sequence, _| *sequence <= stored.0);
        drop(state);
        self.trace
            .note(format!("the store is open at {}", stored.0));
        if stored < acknowledged {
            self.breaks(format!(
                "{} was acknowledged, {} is stored",
                acknowledged.0, stored.0
            ));
        }
    }

    fn came(&self, cut: Cut, stored: SequenceNumber) {
        let mut state = self.state();
        let content = std::mem::take(&mut state.parts).join("\n");
        let sequence = cut.sequence.0;
        let came = Came { cut, content };
        if let Some(known) = state.batches.get(&sequence) {
            let same = known.content == came.content && known.cut == came.cut;
            drop(state);
            if !same {
                self.breaks(format!("batch {sequence} came twice, and differs"));
            }
            return;
        }
        let line = format!(
            "batch {sequence} {:?} {:?}\n{}",
            came.cut.kind, came.cut.checkpoint, came.content
        );
        state.batches.insert(sequence, came);
        drop(state);
        self.trace.note(line);
        if sequence > stored.0 + UNDER_WAY_MAX {
            self.breaks(format!("batch {sequence} while {} is stored", stored.0));
        }
    }
}

impl Destinations for Machine {
    fn open(
        &self,
        source: SourceId,
        events: Box<dyn Fn(StoreEvent) + Send + Sync>,
    ) -> Result<Arc<dyn Destination>, DestinationError> {
        assert_eq!(source, SOURCE);
        let this = self.clone();
        let told = move |event: StoreEvent| {
            this.heard(&event);
            events(event);
        };
        // One that failed (killed while it applied) is closed first.
        let failed = self.state().store.take();
        drop(failed);
        let store = SourceStore::open_with(SETTINGS, &self.directory, source, told)?;
        self.opened(store.stored());
        let mut state = self.state();
        let dies_after = None;
        let full = state.full;
        store.set_faults(Faults { full, dies_after });
        state.store = Some(Arc::clone(&store));
        let start = state.starts;
        drop(state);
        self.work(&store);
        Ok(Arc::new(Door {
            machine: self.clone(),
            start,
        }))
    }
}

/// The way from the sessions of one life of the machine to its store.
struct Door {
    machine: Machine,
    start: u64,
}

impl Door {
    fn store(&self) -> Option<Arc<SourceStore>> {
        let state = self.machine.state();
        state.store.clone().filter(|_| state.starts == self.start)
    }

    fn alive(&self) -> Result<Arc<SourceStore>, DestinationError> {
        let killed = || DestinationError::Failed("killed".to_owned());
        self.store().ok_or_else(killed)
    }

    fn checked<T>(&self, result: Result<T, DestinationError>) -> Result<T, DestinationError> {
        if let Err(DestinationError::Rejected { sequence, reason }) = &result {
            let rule = format!("batch {} was rejected: {reason}", sequence.0);
            self.machine.breaks(rule);
        }
        result
    }
}

impl Destination for Door {
    fn stored(&self) -> SequenceNumber {
        self.store()
            .map_or(SequenceNumber(0), |store| store.stored())
    }

    fn applied(&self) -> SequenceNumber {
        self.store()
            .map_or(SequenceNumber(0), |store| store.applied())
    }

    fn append_part(&self, part: Frame<'static>) -> Result<(), DestinationError> {
        let store = self.alive()?;
        let shown = shown(&part);
        let taken = Destination::append_part(&*store, part);
        self.checked(taken)?;
        let mut state = self.machine.state();
        let (number, line) = shown;
        if number == 0 {
            state.parts.clear();
        }
        state.parts.push(line);
        Ok(())
    }

    fn commit(&self, cut: Cut) -> Result<(), DestinationError> {
        let store = self.alive()?;
        if cut.parts == 0 {
            self.machine.state().parts.clear();
        }
        self.machine.came(cut.clone(), store.stored());
        let taken = Destination::commit(&*store, cut);
        self.checked(taken)
    }

    fn settle(&self, wait: Duration) -> bool {
        self.store().is_none_or(|store| store.settle(wait))
    }

    fn close(&self) {}

    fn answer(&self, query: &Query) -> (Answer, Vec<u8>) {
        match self.store() {
            Some(store) => store.answer(query),
            None => {
                let why = "killed".to_owned();
                let failed = everwrite_protocol::wire::QueryError::Store(why);
                (Answer::Failed(failed), Vec::new())
            }
        }
    }
}

/// Number of a part, and what it says, but for times, which are the kernel's.
fn shown(frame: &Frame<'static>) -> (u32, String) {
    let part: Part = codec::decode(&frame.encoded).unwrap();
    let payload = frame.clone().into_payload().unwrap();
    let commands = part.commands.iter().map(|command| line(command, &payload));
    (part.part, commands.collect::<Vec<_>>().join("\n"))
}

fn line(command: &BackupCommand, payload: &[u8]) -> String {
    match command {
        BackupCommand::Create {
            file, attributes, ..
        } => {
            format!(
                "  create {} {:?} {}",
                file.0, attributes.kind, attributes.size
            )
        }
        BackupCommand::SetAttributes {
            file, attributes, ..
        } => {
            let (mode, size) = (attributes.mode, attributes.size);
            format!("  set {} {mode:o} {size} {:?}", file.0, attributes.xattrs)
        }
        BackupCommand::Write {
            file,
            offset,
            length,
            payload_offset,
            ..
        } => {
            let start = *payload_offset as usize;
            let hash = blake3::hash(&payload[start..start + *length as usize]);
            let hash = &hash.to_hex()[..8];
            format!("  write {} {offset} {length} {hash}", file.0)
        }
        BackupCommand::Root { file, .. } => format!("  root {}", file.0),
        other => format!("  {other:?}"),
    }
}
