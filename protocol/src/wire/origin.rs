//! Who made a change.

use bincode::de::{BorrowDecode, BorrowDecoder, Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};

/// Who made a change. An index into [`Part::origins`](super::Part::origins) stands for it.
///
/// Encoded, the executable and the control group are one text with a zero byte between them, without it where
/// no group is known: so what was stored before groups were told is still read, and a receiver that knows of
/// none takes them for the end of a path. No path holds a zero byte.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Origin {
    /// Process id; 0: found by a scan, program unknown.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Start of the process, clock ticks since boot (`/proc/pid/stat`, field 22).
    pub started_ticks: u64,
    /// Short name (`comm`).
    pub program: String,
    /// Path of the executable; empty when it could not be read.
    pub executable: String,
    /// Control group of the process, `/system.slice/cron.service`: its service or container. Empty when it
    /// could not be read.
    pub cgroup: String,
}

const SEPARATOR: char = '\0';

impl Encode for Origin {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.pid, self.uid, self.started_ticks).encode(encoder)?;
        self.program.encode(encoder)?;
        if self.cgroup.is_empty() {
            return self.executable.encode(encoder);
        }
        format!("{}{SEPARATOR}{}", self.executable, self.cgroup).encode(encoder)
    }
}

impl<C> Decode<C> for Origin {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (pid, uid, started_ticks) = Decode::decode(decoder)?;
        let program = Decode::decode(decoder)?;
        let text = String::decode(decoder)?;
        let (executable, cgroup) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        Ok(Self {
            pid,
            uid,
            started_ticks,
            program,
            executable: executable.to_owned(),
            cgroup: cgroup.to_owned(),
        })
    }
}

impl<'de, C> BorrowDecode<'de, C> for Origin {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
