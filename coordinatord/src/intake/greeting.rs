//! The talk at the door: one [`Hello`] up, one [`Welcome`] down. Pure but for the socket's bytes.
//!
//! Each message is one length byte and so many bytes.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use everwrite_protocol::local::{
    HELLO_BYTES_MAX, Hello, LOCAL_VERSION, Refusal, WELCOME_BYTES_MAX, Welcome, decode, encode,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// What has been heard of a [`Hello`].
#[derive(Debug)]
pub(super) struct Greeting {
    bytes: [u8; 1 + HELLO_BYTES_MAX],
    heard: usize,
}

/// How far the talk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// More is to come.
    Part,
    /// All of it.
    Hello(Hello),
    /// What came is no `Hello`.
    Nonsense,
    /// The peer has gone.
    Gone,
}

impl Greeting {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; 1 + HELLO_BYTES_MAX],
            heard: 0,
        }
    }

    /// Reads what there is, never more than the message.
    pub(super) fn hear(&mut self, mut from: impl Read) -> Heard {
        loop {
            let wanted = match (self.heard, usize::from(self.bytes[0])) {
                (0, _) => 1,
                (_, 1..=HELLO_BYTES_MAX) => 1 + usize::from(self.bytes[0]),
                _ => return Heard::Nonsense,
            };
            match from.read(&mut self.bytes[self.heard..wanted]) {
                Ok(0) => return Heard::Gone,
                Ok(count) => self.heard += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
            if self.heard > 1 && self.heard == 1 + usize::from(self.bytes[0]) {
                let hello = decode::<Hello>(&self.bytes[1..self.heard]);
                return hello.map_or(Heard::Nonsense, Heard::Hello);
            }
        }
    }
}

/// Why a peer that says `hello` is not let in, if it is not.
///
/// Its epoch is no reason: a shim that saw an older one gets a segment all the same, and asks for
/// another at its next call. Sent away it would have nowhere to say what it is about to do.
pub(super) fn objection(hello: &Hello) -> Option<Refusal> {
    (hello.version != LOCAL_VERSION).then_some(Refusal::Version)
}

/// Sends `welcome` and `descriptors`. The socket is new, its buffer empty: nothing waits.
pub(super) fn answer(
    to: BorrowedFd<'_>,
    welcome: Welcome,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut bytes = [0u8; 1 + WELCOME_BYTES_MAX];
    let (length, body) = bytes.split_at_mut(1);
    let used = encode(&welcome, body).ok_or(io::ErrorKind::InvalidData)?;
    length[0] = u8::try_from(used).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let message = [IoSlice::new(&bytes[..=used])];
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::sendmsg(to, &message, &mut control, flags)? {
        sent if sent == used + 1 => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives its bytes one at a time, then blocks.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (first, rest) = self.0.split_first().ok_or(io::ErrorKind::WouldBlock)?;
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn spoken(hello: &Hello) -> Vec<u8> {
        let mut bytes = [0u8; HELLO_BYTES_MAX];
        let used = encode(hello, &mut bytes).unwrap();
        [&[used as u8], &bytes[..used]].concat()
    }

    #[test]
    fn hears_a_hello_in_one_piece_or_in_many() {
        let hello = Hello {
            version: LOCAL_VERSION,
            epoch: u64::MAX,
            pid: u32::MAX,
        };
        let bytes = spoken(&hello);
        assert_eq!(Greeting::new().hear(&bytes[..]), Heard::Hello(hello));
        for cut in 0..bytes.len() {
            let mut greeting = Greeting::new();
            assert_eq!(greeting.hear(Slow(&bytes[..cut])), Heard::Part);
            assert_eq!(greeting.hear(Slow(&bytes[cut..])), Heard::Hello(hello));
        }
    }

    #[test]
    fn leaves_what_is_behind_the_message() {
        let hello = Hello {
            version: 1,
            epoch: 2,
            pid: 3,
        };
        let bytes = [spoken(&hello), vec![9; 100]].concat();
        let mut rest = &bytes[..];
        assert_eq!(Greeting::new().hear(&mut rest), Heard::Hello(hello));
        assert_eq!(rest, [9; 100]);
    }

    #[test]
    fn a_length_that_can_not_be_is_nonsense() {
        assert_eq!(Greeting::new().hear(&[0u8, 1, 1][..]), Heard::Nonsense);
        assert_eq!(Greeting::new().hear(&[65u8; 66][..]), Heard::Nonsense);
        assert_eq!(Greeting::new().hear(&[][..]), Heard::Gone);
    }

    #[test]
    fn the_version_must_be_ours() {
        let hello = Hello {
            version: LOCAL_VERSION,
            epoch: 5,
            pid: 1,
        };
        assert_eq!(objection(&hello), None);
        let newer = Hello {
            version: LOCAL_VERSION + 1,
            ..hello
        };
        assert_eq!(objection(&newer), Some(Refusal::Version));
    }

    proptest! {
        /// Any bytes end in one of the four outcomes.
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let heard = Greeting::new().hear(Slow(&bytes));
            prop_assert!(heard != Heard::Gone);
        }
    }
}
