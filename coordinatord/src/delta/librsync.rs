//! The librsync delta that `fast_rsync::diff` writes, read without applying it.
//!
//! Three kinds of commands: END, LITERAL with its bytes, COPY from the base. Only where the bytes
//! come from matters here: literals are in the new content, at the place that the commands before
//! them have reached.

use super::matches::Match;

const MAGIC: u32 = 0x7273_0236;
const END: u8 = 0x00;
/// 0x01 to 0x40: literal of so many bytes; then lengths of 1, 2, 4, 8 bytes.
const LITERAL_64: u8 = 0x40;
const LITERAL_N8: u8 = 0x44;
/// 0x45 to 0x54: copy; two bits say how long the offset is, two how long the length.
const COPY_N8_N8: u8 = 0x54;

/// Bytes that are not such a delta.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// What `delta` takes from the base, and how many bytes it makes.
pub(super) fn matches(delta: &[u8]) -> Result<(Vec<Match>, u64), Malformed> {
    let mut input = Input(delta);
    if input.number(4)? != u64::from(MAGIC) {
        return Err(Malformed);
    }
    let mut found = Vec::new();
    let mut reached = 0u64;
    loop {
        let length = match input.number(1)? as u8 {
            END if input.0.is_empty() => return Ok((found, reached)),
            END => return Err(Malformed),
            literal @ ..=LITERAL_N8 => input.literal(literal)?,
            copy @ ..=COPY_N8_N8 => {
                let (from, length) = input.copy(copy)?;
                found.push(Match {
                    offset: reached,
                    length,
                    from,
                });
                length
            }
            _ => return Err(Malformed),
        };
        reached = reached.checked_add(length).ok_or(Malformed)?;
    }
}

struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    fn take(&mut self, bytes: u64) -> Result<&'d [u8], Malformed> {
        let bytes = usize::try_from(bytes).map_err(|_| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Big endian, of 1 to 8 bytes.
    fn number(&mut self, bytes: u32) -> Result<u64, Malformed> {
        let digits = self.take(u64::from(bytes))?;
        Ok(digits
            .iter()
            .fold(0, |number, &digit| number << 8 | u64::from(digit)))
    }

    fn literal(&mut self, command: u8) -> Result<u64, Malformed> {
        let length = if command <= LITERAL_64 {
            u64::from(command)
        } else {
            self.number(1 << (command - LITERAL_64 - 1))?
        };
        self.take(length)?;
        Ok(length)
    }

    /// Offset in the base, and length.
    fn copy(&mut self, command: u8) -> Result<(u64, u64), Malformed> {
        let sizes = command - LITERAL_N8 - 1;
        let from = self.number(1 << (sizes / 4))?;
        let length = self.number(1 << (sizes % 4))?;
        from.checked_add(length).ok_or(Malformed)?;
        if length == 0 {
            Err(Malformed)
        } else {
            Ok((from, length))
        }
    }
}

#[cfg(test)]
mod tests {
    use fast_rsync::{Signature, SignatureOptions, apply_limited, diff};
    use proptest::prelude::*;

    use super::*;

    fn delta(base: &[u8], new: &[u8]) -> Vec<u8> {
        let options = SignatureOptions {
            block_size: 16,
            crypto_hash_size: 16,
        };
        let signature = Signature::calculate(base, options);
        let mut delta = Vec::new();
        diff(&signature.index(), new, &mut delta).unwrap();
        delta
    }

    /// The new content, by our reading of the delta.
    fn rebuild(delta: &[u8], base: &[u8], new: &[u8]) -> Vec<u8> {
        let (found, length) = matches(delta).unwrap();
        let mut built = new[..length as usize].to_vec();
        for found in found {
            let from = &base[found.from as usize..found.base_end() as usize];
            built[found.offset as usize..found.end() as usize].copy_from_slice(from);
        }
        built
    }

    #[test]
    fn every_width_of_number_is_read() {
        let literal = |length: usize, header: &[u8]| {
            [&MAGIC.to_be_bytes(), header, &vec![9; length], &[END]].concat()
        };
        for (length, header) in [
            (1, vec![0x01]),
            (64, vec![0x40]),
            (200, vec![0x41, 200]),
            (0x1234, vec![0x42, 0x12, 0x34]),
            (0x1_0001, vec![0x43, 0, 1, 0, 1]),
            (3, vec![0x44, 0, 0, 0, 0, 0, 0, 0, 3]),
        ] {
            assert_eq!(
                matches(&literal(length, &header)),
                Ok((vec![], length as u64))
            );
        }
        let copy = [&MAGIC.to_be_bytes()[..], &[0x4A, 1, 2, 3, 4, END]].concat();
        let found = Match {
            offset: 0,
            length: 0x0304,
            from: 0x0102,
        };
        assert_eq!(matches(&copy), Ok((vec![found], 0x0304)));
    }

    #[test]
    fn what_is_no_delta_is_told() {
        let good = delta(&[1; 64], &[1; 64]);
        for length in 0..good.len() {
            assert_eq!(matches(&good[..length]), Err(Malformed), "{length}");
        }
        assert_eq!(matches(&[&good[..], &[0]].concat()), Err(Malformed));
        assert_eq!(
            matches(&[&MAGIC.to_be_bytes()[..], &[0x55]].concat()),
            Err(Malformed)
        );
    }

    proptest! {
        #[test]
        fn our_reading_agrees_with_the_library_s(
            base in proptest::collection::vec(0u8..4, 0..300),
            new in proptest::collection::vec(0u8..4, 0..300),
            cut in 0usize..300,
        ) {
            let new = [&new, &base[cut.min(base.len())..]].concat();
            let delta = delta(&base, &new);
            let mut applied = Vec::new();
            apply_limited(&base, &delta, &mut applied, 1 << 20).unwrap();
            prop_assert_eq!(&applied, &new);
            prop_assert_eq!(rebuild(&delta, &base, &new), new);
        }

        #[test]
        fn no_bytes_are_a_panic(mut bytes: Vec<u8>) {
            let _ = matches(&bytes);
            bytes.splice(0..0, MAGIC.to_be_bytes());
            let _ = matches(&bytes);
        }
    }
}
