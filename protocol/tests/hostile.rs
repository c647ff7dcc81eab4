//! Bytes from a stranger: whatever they are, decoding neither panics nor allocates much.

mod samples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;

use bincode::{BorrowDecode, Decode, Encode};
use everwrite_protocol::wire::frame::{HEADER_BYTES, Header};
use everwrite_protocol::wire::{
    Answer, Cut, Enrol, Enrolled, Hello, PAYLOAD_BYTES_MAX, Part, Query, Reply, Welcome,
};
use everwrite_protocol::{codec, local};
use proptest::prelude::*;

/// The decoder's limit is a mebibyte of claimed memory; vectors may round that up.
const ALLOCATION_MAX: usize = 2 << 20;

thread_local! {
    /// Largest allocation of this thread since it was last set to 0.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watching;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends allocates after its locals are gone; that is not decoding.
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Decodes; whatever comes out must be encodable to something that decodes to the same.
fn try_wire<M: Encode + Decode<()> + PartialEq + Debug>(bytes: &[u8]) {
    LARGEST.set(0);
    let decoded = codec::decode::<M>(bytes);
    assert!(
        LARGEST.get() <= ALLOCATION_MAX,
        "allocated {} bytes",
        LARGEST.get()
    );
    if let Ok(message) = decoded
        && let Ok(again) = codec::encode(&message)
    {
        assert_eq!(codec::decode::<M>(&again).unwrap(), message);
    }
}

fn try_local<'a, M: BorrowDecode<'a, ()>>(bytes: &'a [u8]) {
    LARGEST.set(0);
    let _ = local::decode::<M>(bytes);
    assert_eq!(
        LARGEST.get(),
        0,
        "the local language does without allocation"
    );
}

fn try_all(bytes: &[u8]) {
    try_wire::<Hello>(bytes);
    try_wire::<Welcome>(bytes);
    try_wire::<Enrol>(bytes);
    try_wire::<Enrolled>(bytes);
    try_wire::<Part>(bytes);
    try_wire::<Cut>(bytes);
    try_wire::<Reply>(bytes);
    try_wire::<Query>(bytes);
    try_wire::<Answer>(bytes);
    try_local::<local::FileModification<'_>>(bytes);
    try_local::<local::Hello>(bytes);
    try_local::<local::Welcome>(bytes);
}

/// Good encodings, to be spoilt.
fn good() -> Vec<Vec<u8>> {
    fn all<M: Encode>(samples: Vec<M>) -> impl Iterator<Item = Vec<u8>> {
        samples
            .into_iter()
            .map(|sample| codec::encode(&sample).unwrap())
    }
    all(samples::hellos())
        .chain(all(samples::welcomes()))
        .chain(all(samples::enrols()))
        .chain(all(samples::enrolleds()))
        .chain(all(samples::parts()))
        .chain(all(samples::cuts()))
        .chain(all(samples::replies()))
        .chain(all(samples::queries()))
        .chain(all(samples::answers()))
        .chain(all(samples::local::modifications()))
        .chain(all(samples::local::hellos()))
        .chain(all(samples::local::welcomes()))
        .collect()
}

#[test]
fn lengths_beyond_all_measure_allocate_nothing() {
    // Sequence, part, then 2^60 origins; the same for commands, and for a string's length.
    let huge = [253, 0, 0, 0, 0, 0, 0, 0, 16];
    for start in [&[1, 0][..], &[1, 0, 0], &[3], &[2, 1, 0]] {
        try_all(&[start, &huge].concat());
    }
}

#[test]
fn a_good_message_cut_short_or_followed_by_more_is_refused() {
    for part in samples::parts() {
        let bytes = codec::encode(&part).unwrap();
        for length in 0..bytes.len() {
            assert!(codec::decode::<Part>(&bytes[..length]).is_err(), "{length}");
        }
        assert!(codec::decode::<Part>(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn names_that_could_leave_their_directory_are_refused() {
    use everwrite_protocol::ids::Name;
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        let bytes = codec::encode(&bad.to_vec()).unwrap();
        assert!(codec::decode::<Name>(&bytes).is_err(), "{bad:?}");
    }
}

#[test]
fn every_damaged_bit_of_a_header_is_noticed() {
    use everwrite_protocol::wire::frame::FrameType;
    let good = Header::new(FrameType::Part, b"encoded", b"payload").encode();
    for bit in 0..HEADER_BYTES * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&bad).is_err(), "bit {bit}");
    }
}

/// A header with these fields and a right checksum.
fn header(frame_type: u8, flags: u8, lengths: [u32; 3]) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(b"EWF1");
    (bytes[4], bytes[5], bytes[6]) = (frame_type, flags, 1);
    for (at, length) in [8, 12, 16].into_iter().zip(lengths) {
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[..28]) as u32;
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        try_all(&bytes);
    }

    #[test]
    fn good_bytes_spoilt(
        which in any::<prop::sample::Index>(),
        spoilt in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let good = good();
        let mut bytes = which.get(&good).clone();
        for (at, byte) in spoilt {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_all(&bytes);
        try_all(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn no_header_promises_more_than_the_limits(frame_type: u8, flags: u8, lengths: [u32; 3]) {
        if let Ok(header) = Header::decode(&header(frame_type, flags, lengths)) {
            prop_assert!(header.encoded_bytes <= codec::ENCODED_BYTES_MAX);
            prop_assert!(header.payload_bytes <= PAYLOAD_BYTES_MAX);
            prop_assert!(header.raw_bytes <= PAYLOAD_BYTES_MAX);
        }
    }

    #[test]
    fn any_header_bytes(bytes: [u8; HEADER_BYTES]) {
        let _ = Header::decode(&bytes);
    }
}
