//! Compress a payload, or not? Measured, for each connection.
//!
//! zstd at level 1 costs about 3 ns a byte. That is well spent on what shrinks and on a line (or a
//! receiver's disk behind it) slower than that; it is wasted on what does not shrink, and it is a
//! brake on a line that is faster. What is compressed here is stored so, and saves history too: so
//! small payloads are always tried, where the time is nothing.

use std::time::Duration;

use super::Frame;

/// Shorter payloads gain nothing.
const WORTH_BYTES_MIN: usize = 128;
/// Up to here compression costs less than a wakeup: no look at the line's speed.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// A line at which zstd would be the brake, in bytes a second.
const FAST_LINE: f64 = 400e6;
/// After failures to shrink, at most so many payloads go untried.
const SKIP_MAX: u32 = 32;

/// Compresses the payloads of one connection where that pays.
pub struct Shrinker {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    policy: Policy,
}

impl Default for Shrinker {
    fn default() -> Self {
        Self {
            compressor: zstd::bulk::Compressor::new(1).ok(),
            policy: Policy::default(),
        }
    }
}

impl Shrinker {
    /// Compresses the payload, or leaves it.
    pub fn shrink(&mut self, frame: &mut Frame<'_>) {
        let Some(compressor) = &mut self.compressor else {
            return;
        };
        if frame.compressed || !self.policy.tries(frame.payload.len()) {
            return;
        }
        let Ok(smaller) = compressor.compress(&frame.payload) else {
            return;
        };
        if self.policy.tried(frame.payload.len(), smaller.len()) {
            frame.payload = smaller.into();
            frame.compressed = true;
        }
    }

    /// Learns from a frame of `bytes` that took `took` to go out.
    pub fn sent(&mut self, bytes: u64, took: Duration) {
        self.policy.sent(bytes, took);
    }
}

#[derive(Default)]
struct Policy {
    /// Payloads still to be left alone.
    skip: u32,
    /// How many to leave alone after the next failure.
    skip_next: u32,
    /// Bytes a second, as far as known.
    line: Option<f64>,
}

impl Policy {
    fn tries(&mut self, bytes: usize) -> bool {
        if bytes < WORTH_BYTES_MIN || (bytes > SMALL_BYTES_MAX && self.line_is_fast()) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    /// Was it worth it? An eighth at least.
    fn tried(&mut self, bytes: usize, smaller: usize) -> bool {
        let worth = smaller <= bytes - bytes / 8;
        if worth {
            self.skip_next = 1;
        } else {
            self.skip = self.skip_next.max(1);
            self.skip_next = (self.skip * 2).min(SKIP_MAX);
        }
        worth
    }

    /// Only full frames tell: small ones end in the socket's buffer.
    fn sent(&mut self, bytes: u64, took: Duration) {
        if bytes > SMALL_BYTES_MAX as u64 {
            let now = bytes as f64 / took.as_secs_f64().max(1e-9);
            self.line = Some(self.line.map_or(now, |line| line * 0.75 + now * 0.25));
        }
    }

    fn line_is_fast(&self) -> bool {
        self.line.is_some_and(|line| line > FAST_LINE)
    }
}

#[cfg(test)]
mod tests {
    use everwrite_protocol::wire::frame::FrameType;

    use super::*;

    fn frame(payload: Vec<u8>) -> Frame<'static> {
        Frame {
            raw_bytes: payload.len(),
            payload: payload.into(),
            ..Frame::empty(FrameType::Part)
        }
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn what_shrinks_is_compressed_and_comes_back() {
        let raw = b"all work and no play ".repeat(1000);
        let mut frame = frame(raw.clone());
        Shrinker::default().shrink(&mut frame);
        assert!(frame.compressed && frame.payload.len() < raw.len() / 10);
        assert_eq!(frame.into_payload().unwrap(), raw);
    }

    #[test]
    fn noise_is_left_alone_and_soon_not_even_tried() {
        let mut policy = Policy::default();
        let tries = (0..100)
            .filter(|_| policy.tries(4096) && !policy.tried(4096, 4100))
            .count();
        assert!(tries < 10, "{tries}");
        let mut frame = frame(noise(4096));
        Shrinker::default().shrink(&mut frame);
        assert!(!frame.compressed);
    }

    #[test]
    fn after_noise_what_shrinks_is_found_again() {
        let mut policy = Policy::default();
        (0..100).for_each(|_| {
            let _ = policy.tries(4096) && policy.tried(4096, 4096);
        });
        let found = (0..SKIP_MAX + 1).position(|_| policy.tries(4096) && policy.tried(4096, 100));
        assert!(found.is_some());
        assert!(policy.tries(4096));
    }

    #[test]
    fn large_payloads_go_as_they_are_on_a_fast_line_only() {
        let mut policy = Policy::default();
        policy.sent(1 << 20, Duration::from_micros(800));
        assert!(!policy.tries(1 << 20));
        assert!(policy.tries(4096));
        (0..20).for_each(|_| policy.sent(1 << 20, Duration::from_millis(10)));
        assert!(policy.tries(1 << 20));
    }
}
