//! In which order parts and cuts may come. Pure.

use everwrite_protocol::ids::SequenceNumber;
use everwrite_protocol::wire::Cut;

use super::{Rejection, StoreError};

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
}

impl Order {
    /// Everything up to `stored` is there.
    pub(super) fn after(stored: SequenceNumber) -> Self {
        Self {
            taken: stored,
            parts: 0,
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
        assert_eq!(order.part(five, 0).unwrap(), Verdict::Take);
        assert_eq!(order.part(five, 1).unwrap(), Verdict::Take);
        assert!(order.part(five, 3).is_err());
        assert_eq!(order.part(five, 0).unwrap(), Verdict::Take);
        assert!(order.cut(&cut(5, 2)).is_err());
        assert_eq!(order.cut(&cut(5, 1)).unwrap(), Verdict::Take);
        assert_eq!(order.part(five, 7).unwrap(), Verdict::Known);
        assert!(order.part(SequenceNumber(7), 0).is_err());
        assert_eq!(order.cut(&cut(6, 0)).unwrap(), Verdict::Take);
    }
}
