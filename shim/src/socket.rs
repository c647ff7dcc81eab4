//! One question and one answer on the local socket, bounded in time, with descriptors in the answer.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use crate::arch::{number, system_call_2, system_call_3, system_call_4, system_call_6};
use crate::environment::copy;
use crate::kernel::Own;

const AF_UNIX: usize = 1;
const SOCK_STREAM: usize = 1;
const SOCK_NONBLOCK: usize = 0o4000;
const SOCK_CLOEXEC: usize = 0o2000000;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
/// Room for a path in `struct sockaddr_un`, with its NUL.
const SUN_PATH_BYTES: usize = 108;
/// Longest wait for the answer, in nanoseconds.
const ANSWER_NS_MAX: u64 = 100_000_000;

/// The answer: so many bytes, and what came with them.
pub(crate) struct Reply {
    pub(crate) bytes: usize,
    pub(crate) descriptors: [Option<Own>; 2],
}

#[repr(C)]
struct Address {
    family: u16,
    path: [u8; SUN_PATH_BYTES],
}

#[repr(C)]
struct Vector {
    base: *mut u8,
    bytes: usize,
}

/// `struct msghdr` of the kernel.
#[repr(C)]
struct Header {
    name: *mut u8,
    name_bytes: usize,
    vectors: *mut Vector,
    vector_count: usize,
    control: *mut Control,
    control_bytes: usize,
    flags: usize,
}

/// A control message with room for two descriptors.
#[repr(C, align(8))]
struct Control {
    bytes: usize,
    level: i32,
    kind: i32,
    descriptors: [c_int; 2],
}

/// Connects to `path`, sends `question`, reads the answer. Never waits for longer than 100 ms, and
/// not at all for the connection.
pub(crate) fn exchange(path: &[u8], question: &[u8], answer: &mut [u8]) -> Option<Reply> {
    let socket = connect(path)?;
    let text = question.as_ptr() as usize;
    // SAFETY: the kernel reads `question`.
    let sent = unsafe {
        system_call_6(
            number::SENDTO,
            socket.0 as usize,
            text,
            question.len(),
            MSG_NOSIGNAL,
            0,
            0,
        )
    };
    if sent != question.len() as isize {
        return None;
    }
    if !wait_for_input(&socket) {
        close_both_ways(&socket);
    }
    receive(&socket, answer)
}

fn connect(path: &[u8]) -> Option<Own> {
    let mut address = Address {
        family: AF_UNIX as u16,
        path: [0; SUN_PATH_BYTES],
    };
    // The last byte stays NUL.
    let place = address
        .path
        .get_mut(..path.len())
        .filter(|place| place.len() < SUN_PATH_BYTES)?;
    copy(path, place);
    let kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    // SAFETY: integers only.
    let socket = unsafe { system_call_3(number::SOCKET, AF_UNIX, kind, 0) };
    let socket = Own(c_int::try_from(socket).ok().filter(|socket| *socket >= 0)?);
    let bytes = size_of::<Address>();
    let place = &raw const address as usize;
    // SAFETY: the kernel reads `address`. A full backlog is `EAGAIN` at once.
    let connected = unsafe { system_call_3(number::CONNECT, socket.0 as usize, place, bytes) };
    (connected == 0).then_some(socket)
}

/// `poll` for input, once: a signal may cut it short, and then attaching may be tried again later.
fn wait_for_input(socket: &Own) -> bool {
    const POLLIN: u16 = 1;
    #[repr(C)]
    struct Poll {
        descriptor: c_int,
        events: u16,
        happened: u16,
    }
    let mut poll = Poll {
        descriptor: socket.0,
        events: POLLIN,
        happened: 0,
    };
    let limit = [0u64, ANSWER_NS_MAX];
    let (place, limit) = (&raw mut poll as usize, limit.as_ptr() as usize);
    // SAFETY: the kernel reads and writes one `struct pollfd` and reads one `struct timespec`.
    let ready = unsafe { system_call_4(number::PPOLL, place, 1, limit, 0) };
    ready == 1 && poll.happened & POLLIN != 0
}

/// What has come by now can still be read; whoever answers later learns that nobody listens. So both
/// sides agree on whether there is an attachment.
fn close_both_ways(socket: &Own) {
    const SHUT_RDWR: usize = 2;
    // SAFETY: integers only.
    unsafe { system_call_2(number::SHUTDOWN, socket.0 as usize, SHUT_RDWR) };
}

fn receive(socket: &Own, answer: &mut [u8]) -> Option<Reply> {
    let mut vector = Vector {
        base: answer.as_mut_ptr(),
        bytes: answer.len(),
    };
    let mut control = MaybeUninit::<Control>::zeroed();
    let mut header = Header {
        name: core::ptr::null_mut(),
        name_bytes: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: control.as_mut_ptr(),
        control_bytes: size_of::<Control>(),
        flags: 0,
    };
    let place = &raw mut header as usize;
    // SAFETY: the kernel writes into `answer` and `control`, within the sizes given, and `header`.
    let (bytes, control) = unsafe {
        (
            system_call_3(number::RECVMSG, socket.0 as usize, place, MSG_CMSG_CLOEXEC),
            control.assume_init(),
        )
    };
    let descriptors = descriptors(&control, header.control_bytes);
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)?;
    Some(Reply { bytes, descriptors })
}

/// What came with the answer, `used` bytes of control.
fn descriptors(control: &Control, used: usize) -> [Option<Own>; 2] {
    const HEAD: usize = 16;
    const EACH: usize = size_of::<c_int>();
    let rights = control.level == SOL_SOCKET && control.kind == SCM_RIGHTS && used >= HEAD;
    let count = if rights {
        control.bytes.saturating_sub(HEAD) / EACH
    } else {
        0
    };
    let [first, second] = control.descriptors;
    [
        (count > 0).then(|| Own(first)),
        (count > 1).then(|| Own(second)),
    ]
}
