//! The pairing code: one line that says where the receiver is, what certificate it will show, and
//! the secret that makes it trust whoever brings it.
//!
//! `HOST:PORT#SECRET`, SECRET being fingerprint and one-time secret in base32 (RFC 4648, lower
//! case, no padding): no character that a terminal, a chat or a voice would spoil.

use std::fmt;
use std::str::FromStr;

use everwrite_protocol::wire::{FINGERPRINT_BYTES, Fingerprint, SECRET_BYTES};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const CARRIED_BYTES: usize = FINGERPRINT_BYTES + SECRET_BYTES;
const TEXT_BYTES: usize = (CARRIED_BYTES * 8).div_ceil(5);

/// What a person carries from the receiver to the source.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode {
    /// `HOST:PORT` of the receiver.
    pub address: String,
    /// The certificate that it will show.
    pub fingerprint: Fingerprint,
    /// Proof that the bearer was sent by the receiver's owner.
    pub secret: [u8; SECRET_BYTES],
}

/// A text that is not a pairing code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a pairing code: {0}; copy the whole line that `everwrite-receiver pair` printed")]
pub struct InvalidCode(&'static str);

impl PairingCode {
    /// Is it `HOST:PORT`, as far as can be seen?
    pub fn is_address(text: &str) -> bool {
        text.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && matches!(port.parse::<u16>(), Ok(1..)))
    }
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carried = [self.fingerprint.as_slice(), self.secret.as_slice()].concat();
        write!(f, "{}#{}", self.address, base32(&carried))
    }
}

/// Without the secret: what is printed for debugging ends in logs.
impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairingCode({}#…)", self.address)
    }
}

impl FromStr for PairingCode {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let (address, secret) = text
            .trim()
            .rsplit_once('#')
            .ok_or(InvalidCode("there is no # in it"))?;
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if address.starts_with(':') || !matches!(port, Some(Ok(1..))) {
            return Err(InvalidCode("it does not begin with HOST:PORT"));
        }
        let carried = from_base32(secret)?;
        let (fingerprint, secret) = carried.split_at(FINGERPRINT_BYTES);
        match (fingerprint.try_into(), secret.try_into()) {
            (Ok(fingerprint), Ok(secret)) => Ok(Self {
                address: address.to_owned(),
                fingerprint,
                secret,
            }),
            _ => Err(InvalidCode("the part after # has the wrong length")),
        }
    }
}

/// A fingerprint or secret as text.
fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| {
        bytes
            .get(at / 8)
            .is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
    };
    let digit = |at: usize| (0..5).fold(0, |digit, next| digit << 1 | usize::from(bit(at + next)));
    (0..bytes.len() * 8)
        .step_by(5)
        .map(|at| char::from(ALPHABET[digit(at)]))
        .collect()
}

fn from_base32(text: &str) -> Result<Vec<u8>, InvalidCode> {
    if text.len() != TEXT_BYTES {
        return Err(InvalidCode("the part after # has the wrong length"));
    }
    let mut bytes = vec![0u8; CARRIED_BYTES];
    for (index, character) in text.bytes().enumerate() {
        let digit = ALPHABET
            .iter()
            .position(|&known| known == character.to_ascii_lowercase())
            .ok_or(InvalidCode("a character after # is not one of a-z and 2-7"))?;
        (0..5)
            .filter(|bit| digit & (16 >> bit) != 0)
            .for_each(|bit| {
                let at = index * 5 + bit;
                if let Some(byte) = bytes.get_mut(at / 8) {
                    *byte |= 0x80 >> (at % 8);
                }
            });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code() -> PairingCode {
        PairingCode {
            address: "backup.example:7777".to_owned(),
            fingerprint: [0xA5; FINGERPRINT_BYTES],
            secret: [0x3C; SECRET_BYTES],
        }
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
    }

    #[test]
    fn blanks_and_capitals_do_no_harm() {
        let (address, secret) = {
            let text = code().to_string();
            let (address, secret) = text.split_once('#').unwrap();
            (address.to_owned(), secret.to_uppercase())
        };
        assert_eq!(format!(" {address}#{secret}\n").parse(), Ok(code()));
    }

    #[test]
    fn addresses_of_version_six_pass() {
        let six = PairingCode {
            address: "[::1]:80".to_owned(),
            ..code()
        };
        assert_eq!(six.to_string().parse(), Ok(six));
    }

    #[test]
    fn what_is_not_a_code_is_refused_with_a_reason() {
        let good = code().to_string();
        let secret = good.split_once('#').unwrap().1;
        for (text, reason) in [
            (String::new(), "no #"),
            (good[..good.len() - 1].to_owned(), "length"),
            (format!("{good}a"), "length"),
            (format!("host#{secret}"), "HOST:PORT"),
            (format!(":1#{secret}"), "HOST:PORT"),
            (format!("host:0#{secret}"), "HOST:PORT"),
            (good.replace(&secret[..1], "1"), "character"),
        ] {
            let error = text.parse::<PairingCode>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_code_comes_back(fingerprint: [u8; 32], secret: [u8; 16], port in 1u16..) {
            let code = PairingCode { address: format!("10.0.0.1:{port}"), fingerprint, secret };
            prop_assert_eq!(code.to_string().parse(), Ok(code));
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = text.parse::<PairingCode>();
        }
    }
}
