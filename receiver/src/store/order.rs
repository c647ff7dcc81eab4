//! In which order parts and cuts may come, and how many. Pure.

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::{Cut, Part};

use super::{Rejection, StoreError};

/// Most commands of a batch, and most bytes of their encoded form: all of them are in memory when it is
/// applied. Coordinators end a batch at 8192 commands.
const COMMANDS_MAX: usize = 1 << 16;
const ENCODED_BYTES_MAX: usize = 128 << 20;

/// What a batch makes of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Weight {
    commands: usize,
    encoded_bytes: usize,
}

impl Weight {
    /// One command more than there are: an empty part is something, too.
    pub(super) fn of(part: &Part, encoded_bytes: usize) -> Self {
        Self {
            commands: part.commands.len() + 1,
            encoded_bytes,
        }
    }

    fn with(self, other: Self) -> Option<Self> {
        let sum = Self {
            commands: self.commands + other.commands,
            encoded_bytes: self.encoded_bytes + other.encoded_bytes,
        };
        (sum.commands <= COMMANDS_MAX && sum.encoded_bytes <= ENCODED_BYTES_MAX).then_some(sum)
    }
}

/// What to do with what came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Write it.
    Take,
    /// It is stored, or on its way there, already.
    Known,
}

/// Where the stream of batches is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Order {
    /// Last batch whose cut was taken.
    taken: SequenceNumber,
    /// Parts so far of the next one.
    parts: u32,
    /// What they weigh.
    weight: Weight,
}

impl Order {
    /// Everything up to `stored` is there.
    pub(super) fn after(stored: SequenceNumber) -> Self {
        Self {
            taken: stored,
            parts: 0,
            weight: Weight::default(),
        }
    }

    /// Last batch whose cut was taken.
    pub(super) fn taken(&self) -> SequenceNumber {
        self.taken
    }

    /// A part has come.
    pub(super) fn part(
        &mut self,
        sequence: SequenceNumber,
        part: u32,
        weight: Weight,
    ) -> Result<Verdict, StoreError> {
        if sequence <= self.taken {
            return Ok(Verdict::Known);
        }
        self.check_next(sequence)?;
        // Part 0 begins the batch anew: the connection that brought the other parts was lost.
        if part != 0 && part != self.parts {
            return Err(rejected(
                sequence,
                Rejection::PartNumber {
                    expected: self.parts,
                },
            ));
        }
        let before = if part == 0 {
            Weight::default()
        } else {
            self.weight
        };
        self.weight = before
            .with(weight)
            .ok_or_else(|| rejected(sequence, Rejection::TooMuch))?;
        self.parts = part + 1;
        Ok(Verdict::Take)
    }

    /// A cut has come.
    pub(super) fn cut(&mut self, cut: &Cut) -> Result<Verdict, StoreError> {
        if cut.sequence <= self.taken {
            return Ok(Verdict::Known);
        }
        self.check_next(cut.sequence)?;
        // A batch without parts may follow an attempt at it with parts that was given up.
        if cut.parts != 0 && cut.parts != self.parts {
            return Err(rejected(
                cut.sequence,
                Rejection::PartNumber {
                    expected: self.parts,
                },
            ));
        }
        *self = Self::after(cut.sequence);
        Ok(Verdict::Take)
    }

    fn check_next(&self, sequence: SequenceNumber) -> Result<(), StoreError> {
        let expected = self.taken.next();
        match sequence == expected {
            true => Ok(()),
            false => Err(rejected(sequence, Rejection::Sequence { expected })),
        }
    }
}

fn rejected(sequence: SequenceNumber, reason: Rejection) -> StoreError {
    StoreError::Rejected { sequence, reason }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::ids::Timestamp;
    use everwrite_protocol::wire::CutKind;

    use super::*;

    fn cut(sequence: u64, parts: u32) -> Cut {
        Cut {
            sequence: SequenceNumber(sequence),
            parts,
            time: Timestamp(0),
            kind: CutKind::Fuzzy,
            checkpoint: None,
            oldest_change: Timestamp(0),
        }
    }

    #[test]
    fn batches_come_in_order_and_may_begin_anew() {
        let mut order = Order::after(SequenceNumber(4));
        let five = SequenceNumber(5);
        assert_eq!(
            order.part(five, 0, Weight::default()).unwrap(),
            Verdict::Take
        );
        assert_eq!(
            order.part(five, 1, Weight::default()).unwrap(),
            Verdict::Take
        );
        assert!(order.part(five, 3, Weight::default()).is_err());
        assert_eq!(
            order.part(five, 0, Weight::default()).unwrap(),
            Verdict::Take
        );
        assert!(order.cut(&cut(5, 2)).is_err());
        assert_eq!(order.cut(&cut(5, 1)).unwrap(), Verdict::Take);
        assert_eq!(
            order.part(five, 7, Weight::default()).unwrap(),
            Verdict::Known
        );
        assert!(order.part(SequenceNumber(7), 0, Weight::default()).is_err());
        assert_eq!(order.cut(&cut(6, 0)).unwrap(), Verdict::Take);
    }

    #[test]
    fn a_batch_has_an_end() {
        let mut order = Order::after(SequenceNumber(0));
        let quarter = Weight {
            commands: COMMANDS_MAX / 4,
            encoded_bytes: 1,
        };
        let mut part = |number| order.part(SequenceNumber(1), number, quarter).is_ok();
        assert!((0..4).all(&mut part));
        assert!(!part(4));
        assert!(part(0), "and may begin anew");
    }
}
