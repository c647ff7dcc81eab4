//! The network between the two: it delivers in pieces, delays, is cut in the middle of a frame; one end may
//! hear of that long before the other.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everwrite_coordinatord::network_backup::{Dial, Stream};
use everwrite_receiver::network_backup::Sources;
use everwrite_receiver::network_backup::session::{Caller, serve};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::watch;

use crate::dice::Dice;
use crate::trace::Trace;

const PIPE_BYTES: usize = 64 << 10;

/// How a line ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Not yet.
    No,
    /// Both sides hear of it.
    Both,
    /// Nothing goes through any more, and the receiver does not hear of it.
    ReceiverWaits,
    /// The same of the coordinator.
    CoordinatorWaits,
}

#[derive(Clone)]
pub(crate) struct Network {
    state: Arc<Mutex<State>>,
    dice: Dice,
    trace: Trace,
}

struct State {
    /// Whoever answers; `None`: nobody.
    receiver: Option<Arc<Sources>>,
    down: bool,
    slow: bool,
    /// Lines are cut as soon as the coordinator says something.
    trap: bool,
    lines: watch::Sender<End>,
}

impl Network {
    pub(crate) fn new(dice: Dice, trace: Trace) -> Self {
        let state = State {
            receiver: None,
            down: false,
            slow: false,
            trap: false,
            lines: watch::Sender::new(End::No),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            dice,
            trace,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_receiver(&self, receiver: Option<Arc<Sources>>) {
        self.state().receiver = receiver;
    }

    /// Nobody can be reached, or again.
    pub(crate) fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    pub(crate) fn set_slow(&self, slow: bool) {
        self.state().slow = slow;
    }

    /// Cuts all lines.
    pub(crate) fn cut(&self) {
        let ends = [
            End::Both,
            End::Both,
            End::ReceiverWaits,
            End::CoordinatorWaits,
        ];
        let end = *self.dice.pick(&ends).unwrap_or(&End::Both);
        self.trace.note(format!("lines are cut: {end:?}"));
        self.end(end);
    }

    /// Cuts them in the middle of what the coordinator says next.
    pub(crate) fn cut_in_the_middle(&self) {
        self.state().trap = true;
    }

    fn takes_the_trap(&self) -> bool {
        let taken = std::mem::take(&mut self.state().trap);
        if taken {
            self.cut();
        }
        taken
    }

    /// Both sides hear that the other is gone.
    pub(crate) fn close(&self) {
        self.end(End::Both);
    }

    fn end(&self, end: End) {
        let mut state = self.state();
        let lines = std::mem::replace(&mut state.lines, watch::Sender::new(End::No));
        lines.send_replace(end);
    }
}

impl Dial for Network {
    fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let state = self.state();
        let receiver = state.receiver.clone().filter(|_| !state.down);
        let receiver = receiver.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, near_end) = tokio::io::duplex(PIPE_BYTES);
        let (far_end, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            // How it ended is the sessions' business; the trace shows what came of it.
            let _ = serve(far, Caller::Embedded, &receiver).await;
        });
        let pieces = [900, 9000, PIPE_BYTES];
        let line = Line {
            network: self.clone(),
            dice: self.dice.clone(),
            slow: state.slow,
            piece: *self.dice.pick(&pieces).unwrap_or(&PIPE_BYTES),
            end: state.lines.subscribe(),
        };
        tokio::spawn(line.run(near_end, far_end));
        Ok(Box::new(near))
    }
}

struct Line {
    network: Network,
    dice: Dice,
    slow: bool,
    piece: usize,
    end: watch::Receiver<End>,
}

impl Line {
    async fn run(self, near: DuplexStream, far: DuplexStream) {
        let (near_reads, near_writes) = tokio::io::split(near);
        let (far_reads, far_writes) = tokio::io::split(far);
        let mut end = self.end.clone();
        let (mut up, mut down) = (
            Way::new(&self, Some(&self.network), near_reads, far_writes),
            Way::new(&self, None, far_reads, near_writes),
        );
        let ended = tokio::select! {
            biased;
            ended = ended(&mut end) => ended,
            () = up.run() => End::Both,
            () = down.run() => End::Both,
        };
        // What is under way still arrives, and is the last: half a frame, as likely as not.
        up.last().await;
        down.last().await;
        let (near, far) = ((up.from, down.to), (down.from, up.to));
        match ended {
            End::ReceiverWaits => {
                drop(near);
                tokio::time::sleep(FOR_EVER).await;
                drop(far);
            }
            End::CoordinatorWaits => {
                drop(far);
                tokio::time::sleep(FOR_EVER).await;
                drop(near);
            }
            End::No | End::Both => {}
        }
    }
}

async fn ended(end: &mut watch::Receiver<End>) -> End {
    let ended = end.wait_for(|end| *end != End::No).await;
    ended.map_or(End::Both, |end| *end)
}

const FOR_EVER: Duration = Duration::from_secs(100);

/// One direction.
struct Way<R, W> {
    from: R,
    to: W,
    /// Who may have set a trap on it.
    network: Option<Network>,
    dice: Dice,
    slow: bool,
    piece: usize,
    under_way: Vec<u8>,
}

impl Way<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>> {
    fn new(
        line: &Line,
        network: Option<&Network>,
        from: ReadHalf<DuplexStream>,
        to: WriteHalf<DuplexStream>,
    ) -> Self {
        Self {
            from,
            to,
            network: network.cloned(),
            dice: line.dice.clone(),
            slow: line.slow,
            piece: line.piece,
            under_way: Vec::new(),
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Way<R, W> {
    /// Until one end is closed.
    async fn run(&mut self) {
        let mut buffer = vec![0; self.piece];
        loop {
            let Ok(count @ 1..) = self.from.read(&mut buffer).await else {
                return;
            };
            self.under_way.extend_from_slice(&buffer[..count]);
            if self.network.as_ref().is_some_and(Network::takes_the_trap) {
                return std::future::pending().await;
            }
            let wait = if self.slow {
                self.dice.ms(200)
            } else {
                self.dice.ms(2)
            };
            tokio::time::sleep(wait).await;
            while !self.under_way.is_empty() {
                let Ok(count @ 1..) = self.to.write(&self.under_way).await else {
                    return;
                };
                self.under_way.drain(..count);
            }
        }
    }

    /// A part of what is under way.
    async fn last(&mut self) {
        let count = self.dice.below(self.under_way.len() as u64 + 1) as usize;
        // As much as fits: nobody may be reading.
        let write = self.to.write(&self.under_way[..count]);
        let _ = tokio::time::timeout(Duration::from_millis(1), write).await;
    }
}
