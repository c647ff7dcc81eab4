//! The program in the kernel (`bpf/witness.bpf.c`): loaded, attached, drained, given orders.
//!
//! Everything in the kernel hangs on descriptors of this process: when it ends, however it ends, the
//! programs are gone.

use std::cell::RefCell;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use libbpf_rs::btf::{Btf, types};
use libbpf_rs::{
    AsRawLibbpf, ErrorKind, Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject,
    PrintLevel, ProgramInput, RingBuffer, RingBufferBuilder, set_print,
};

use super::event::{Event, KnownProgram, Number};
use super::handle::{EXT4, XFS};
use super::symbols;
use super::tracer_report::{Lost, TracerCounters, TracerProblem};

const TYPES: &str = "/sys/kernel/btf/vmlinux";
const TYPES_OF_XFS: &str = "/sys/kernel/btf/xfs";
/// It has to be told where the kernel's code lies.
const RESIZED: &str = "ext4_resized";
/// Programs that hear all writes of a file system together.
const WRITES: [(u64, &[&str]); 2] = [
    (
        EXT4,
        &[
            "ext4_da_write",
            "ext4_write",
            "ext4_journalled_write",
            "ext4_truncated",
            RESIZED,
            "ext4_fallocate",
            "direct_written",
        ],
    ),
    (
        XFS,
        &[
            "xfs_buffered_write",
            "xfs_direct_write",
            "xfs_attributes",
            "xfs_free",
            "xfs_zero",
            "xfs_collapse",
            "xfs_insert",
            "xfs_reflink",
        ],
    ),
];
/// Programs that hear all stores into mappings together.
const STORES: [&str; 4] = ["folio_dirtied", "page_used", "pages_used", "times_moved"];
/// Programs that hear system calls together.
const CALLS: [&str; 2] = ["call_began", "call_ended"];
/// Where a page's flags say that it is the head of a folio, when the kernel does not tell (6.12).
const HEAD_BIT: u32 = 6;
/// Lost files taken at once.
const LOST_MAX: usize = 1 << 14;

/// Numbers of `enum order`.
#[derive(Clone, Copy)]
enum Order {
    AddRoot = 0,
    NextGeneration = 1,
    WritableMappings = 2,
}

/// Numbers of `enum teller`.
const BY_HOOKS: u32 = 1;
const BY_CALLS: u32 = 2;

/// Has this kind of file system no hooks that tell of writes, so that only the ends of system calls can?
pub(super) fn wants_calls(magic: u64) -> bool {
    WRITES.iter().all(|(known, _)| *known != magic)
}

/// The attached programs.
pub(super) struct Tracer {
    object: Object,
    attached: Vec<(String, Link)>,
    ring: RingBuffer<'static>,
    events: Rc<RefCell<Vec<Event>>>,
    lost: MapHandle,
    programs: MapHandle,
    counters: MapHandle,
    unnamed_before: u64,
}

impl Tracer {
    /// Loads and attaches all that this kernel has hooks for; those at system calls if `calls`.
    pub(super) fn start(ring_bytes: u32, calls: bool) -> Result<Self, TracerProblem> {
        if !Path::new(TYPES).exists() {
            return Err(TracerProblem::NoTypes);
        }
        // The library's own messages suggest what does not help; ours say it better.
        set_print(Some((PrintLevel::Info, |_, text| {
            tracing::debug!("libbpf: {}", text.trim_end())
        })));
        let types = Btf::from_vmlinux().map_err(failed("read the kernel's types"))?;
        let mut open = open_object(&types)?;
        configure(&mut open, &types, ring_bytes, calls)?;
        let mut object = open.load().map_err(failed("load the eBPF program"))?;
        let attached = attach(&mut object)?;
        let map = |name| {
            let found = object.maps().find(|map| map.name() == name);
            let map = found.ok_or_else(|| TracerProblem::Failed {
                doing: "find a map of the eBPF program",
                cause: format!("there is no {name}"),
            })?;
            MapHandle::try_from(&map).map_err(failed("open a map of the eBPF program"))
        };
        let (lost, programs, counters) = (map("lost")?, map("programs")?, map("counters")?);
        let events = Rc::default();
        let ring = ring(&map("events")?, Rc::clone(&events))?;
        Ok(Self {
            object,
            attached,
            ring,
            events,
            lost,
            programs,
            counters,
            unnamed_before: 0,
        })
    }

    /// Does it hear of every write, with its range, on file systems of this kind (`f_type`)? On older
    /// kernels some ways of writing have no hook (direct ones before 6.12).
    pub(super) fn tells_ranges_on(&self, magic: u64) -> bool {
        WRITES
            .iter()
            .any(|(known, programs)| *known == magic && self.are_attached(programs))
    }

    /// Does it hear of every store into a mapping? Before 6.12 not of those into pages that were written in
    /// the same tick.
    pub(super) fn tells_of_stores(&self) -> bool {
        self.are_attached(&STORES)
    }

    /// Does it hear the ends of system calls, which tell of writes wherever nothing else does?
    pub(super) fn hears_calls(&self) -> bool {
        self.are_attached(&CALLS)
    }

    fn are_attached(&self, programs: &[&str]) -> bool {
        programs.iter().all(|program| self.is_attached(program))
    }

    fn is_attached(&self, program: &str) -> bool {
        self.attached.iter().any(|(name, _)| name == program)
    }

    /// Has files below the directory told of, under this number (not 0). `magic`: the kind of its file system
    /// (`f_type`). The directory must be kept open for as long.
    pub(super) fn add_root(
        &mut self,
        root: BorrowedFd<'_>,
        magic: u64,
        number: u32,
    ) -> Result<(), TracerProblem> {
        let teller = if wants_calls(magic) {
            BY_CALLS
        } else {
            BY_HOOKS
        };
        match self.order(Order::AddRoot, Some(root), [number, teller]) {
            Some(0) => Ok(()),
            _ => Err(TracerProblem::Failed {
                doing: "have a directory watched by the eBPF program",
                cause: "its tables are full".to_owned(),
            }),
        }
    }

    /// Directories were moved: what is known about where files are is void.
    pub(super) fn next_generation(&mut self) {
        self.order(Order::NextGeneration, None, [0; 2]);
    }

    /// Has anybody the file mapped shared, so that it may store into it? In doubt, yes.
    pub(super) fn is_mapped(&mut self, file: BorrowedFd<'_>) -> bool {
        self.order(Order::WritableMappings, Some(file), [0; 2]) != Some(0)
    }

    /// Runs `order` in the kernel, in the context of this thread.
    fn order(
        &mut self,
        order: Order,
        descriptor: Option<BorrowedFd<'_>>,
        [root, teller]: [u32; 2],
    ) -> Option<i32> {
        let number = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
        let words = [
            order as u64,
            number.cast_unsigned().into(),
            root.into(),
            teller.into(),
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let program = self
            .object
            .progs_mut()
            .find(|program| program.name() == "order")?;
        let input = ProgramInput {
            context_in: Some(&mut bytes),
            ..ProgramInput::default()
        };
        let output = program.test_run(input).ok()?;
        Some(output.return_value.cast_signed())
    }

    /// What was told until now. `all`: also what stands behind an event that another processor is about
    /// to tell.
    pub(super) fn drain(&mut self, all: bool) -> Vec<Event> {
        let end = all.then(|| self.positions().1);
        loop {
            // An error means that there is nothing to be read.
            let _ = self.ring.consume();
            if end.is_none_or(|end| self.positions().0 >= end) {
                return self.events.take();
            }
            std::thread::yield_now();
        }
    }

    /// How far the ring has been read, and written, in bytes since it was made.
    fn positions(&self) -> (u64, u64) {
        let rings = self.ring.as_libbpf_object();
        // SAFETY: `rings` lives as long as `self.ring` and has one ring, which the calls only look at.
        unsafe {
            let ring = libbpf_sys::ring_buffer__ring(rings.as_ptr(), 0);
            (
                libbpf_sys::ring__consumer_pos(ring),
                libbpf_sys::ring__producer_pos(ring),
            )
        }
    }

    /// What could not be told since this was last asked.
    pub(super) fn take_lost(&mut self) -> Lost {
        let unnamed = self.counters().dropped_unnamed;
        let mut lost = Lost {
            files: Vec::new(),
            more: unnamed > self.unnamed_before,
        };
        self.unnamed_before = unnamed;
        let keys: Vec<_> = self.lost.keys().take(LOST_MAX).collect();
        for key in keys {
            // Removed before anybody looks: what is lost from now on comes again.
            let _ = self.lost.delete(&key);
            lost.files.extend(Number::decode_lost(&key));
        }
        lost
    }

    /// What a process was when it last became another program; also of one that has ended.
    pub(super) fn program(&self, process: u32) -> Option<KnownProgram> {
        let found = self.programs.lookup(&process.to_ne_bytes(), MapFlags::ANY);
        KnownProgram::decode(&found.ok()??)
    }

    /// Counts since it was attached.
    pub(super) fn counters(&self) -> TracerCounters {
        let count = |counter: u32| {
            let found = self
                .counters
                .lookup_percpu(&counter.to_ne_bytes(), MapFlags::ANY);
            let each = found.ok().flatten().unwrap_or_default();
            let numbers = each.iter().filter_map(|bytes| bytes.first_chunk());
            numbers.map(|bytes| u64::from_ne_bytes(*bytes)).sum()
        };
        TracerCounters {
            told: count(0),
            dropped: count(1),
            dropped_unnamed: count(2),
            unplaced: count(3),
        }
    }
}

/// Readable when there are events.
impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring keeps its descriptor open for as long as it lives, hence as `self`.
        unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) }
    }
}

/// The variant of the program that is cheapest on this kernel.
fn open_object(types: &Btf<'_>) -> Result<OpenObject, TracerProblem> {
    let has_plain_loads = types
        .type_by_name::<types::Func<'_>>("bpf_rdonly_cast")
        .is_some();
    let object: &[u8] = if has_plain_loads {
        include_bytes!(concat!(env!("OUT_DIR"), "/witness-plain-loads.bpf.o"))
    } else {
        include_bytes!(concat!(env!("OUT_DIR"), "/witness.bpf.o"))
    };
    ObjectBuilder::default()
        .open_memory(object)
        .map_err(failed("open the eBPF program"))
}

/// Settings, and which programs there are hooks for.
fn configure(
    open: &mut OpenObject,
    types: &Btf<'_>,
    ring_bytes: u32,
    calls: bool,
) -> Result<(), TracerProblem> {
    let setattr = symbols::extent_of("ext4_setattr");
    if setattr.is_none() {
        tracing::info!(
            "where the kernel's ext4_setattr lies is not told (/proc/kallsyms): files on ext4 that programs without the shim write to are compared whole"
        );
    }
    let settings = settings(types, setattr.clone().unwrap_or_default());
    for mut map in open.maps_mut() {
        let is_settings = map.name().to_string_lossy().ends_with(".rodata");
        if let Some(place) = map.initial_value_mut().filter(|_| is_settings) {
            let bytes = place.iter_mut().zip(&settings);
            bytes.for_each(|(place, byte)| *place = *byte);
        }
        if map.name() == "events" {
            map.set_max_entries(ring_bytes)
                .map_err(failed("set the size of the ring of events"))?;
        }
    }
    for mut program in open.progs_mut() {
        let section = program.section().to_string_lossy().into_owned();
        let event = section.strip_prefix("tp_btf/");
        let is_wanted = calls || CALLS.iter().all(|name| program.name() != *name);
        let is_of_use = setattr.is_some() || program.name() != RESIZED;
        let is_heard = event.is_none_or(|event| has_event(types, event));
        program.set_autoload(is_wanted && is_of_use && is_heard);
    }
    Ok(())
}

/// `settings` in the program.
fn settings(types: &Btf<'_>, setattr: Range<u64>) -> Vec<u8> {
    let words = [std::process::id(), head_bit(types)];
    let longs = [setattr.start, setattr.end - setattr.start];
    let words = words.iter().flat_map(|word| word.to_ne_bytes());
    words
        .chain(longs.iter().flat_map(|long| long.to_ne_bytes()))
        .collect()
}

fn has_event(types: &Btf<'_>, event: &str) -> bool {
    let name = format!("btf_trace_{event}");
    let is_known = types.type_by_name::<types::Typedef<'_>>(&name).is_some();
    is_known || (event.starts_with("xfs_") && Path::new(TYPES_OF_XFS).exists())
}

fn head_bit(types: &Btf<'_>) -> u32 {
    let flags = types.type_by_name::<types::Enum<'_>>("pageflags");
    let bit = flags.and_then(|flags| {
        let mut flags = flags.iter();
        let head = flags.find(|flag| flag.name.is_some_and(|name| name == "PG_head"))?;
        u32::try_from(head.value).ok()
    });
    bit.unwrap_or(HEAD_BIT)
}

fn attach(object: &mut Object) -> Result<Vec<(String, Link)>, TracerProblem> {
    let mut attached = Vec::new();
    for program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        if !program.autoload() || name == "order" {
            continue;
        }
        match program.attach() {
            Ok(link) => attached.push((name, link)),
            Err(error) => {
                tracing::warn!(program = %name, %error, "an eBPF program can't be attached")
            }
        }
    }
    if attached.is_empty() {
        return Err(TracerProblem::Failed {
            doing: "attach the eBPF program",
            cause: "this kernel has none of the hooks that it knows".to_owned(),
        });
    }
    Ok(attached)
}

fn ring(
    map: &MapHandle,
    events: Rc<RefCell<Vec<Event>>>,
) -> Result<RingBuffer<'static>, TracerProblem> {
    let mut builder = RingBufferBuilder::new();
    builder
        .add(map, move |bytes| {
            events.borrow_mut().extend(Event::decode(bytes));
            0
        })
        .map_err(failed("open the ring of events"))?;
    builder.build().map_err(failed("open the ring of events"))
}

fn failed(doing: &'static str) -> impl FnOnce(libbpf_rs::Error) -> TracerProblem {
    move |error| match error.kind() {
        ErrorKind::PermissionDenied => TracerProblem::NotPermitted,
        _ => TracerProblem::Failed {
            doing,
            cause: format!("{error:#}"),
        },
    }
}
