//! A TCP proxy on loopback that can cut, hold back and let go: the network between two daemons.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::wait::pause;

/// Passes connections on to a target until dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
}

#[derive(Debug)]
struct Network {
    target: String,
    weather: Mutex<Weather>,
    changed: Condvar,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Weather {
    /// New connections are closed at once.
    cut: bool,
    /// Nothing is passed on; connections stay.
    held: bool,
    /// How long a byte takes, all connections and directions apart.
    time_per_byte: Duration,
    /// Cut by itself once so many more bytes have passed.
    cut_after_bytes: Option<u64>,
    /// Both ends of all connections so far.
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// Listens on a free port for `target` (`HOST:PORT`).
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
        let address = listener.local_addr().expect("address of a listener");
        let network = Arc::new(Network {
            target: target.to_owned(),
            weather: Mutex::default(),
            changed: Condvar::new(),
            bytes: AtomicU64::new(0),
        });
        let accepting = network.clone();
        std::thread::spawn(move || {
            listener
                .incoming()
                .flatten()
                .for_each(|stream| accepting.accept(stream));
        });
        Self { address, network }
    }

    /// `HOST:PORT` to connect to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends all connections and lets none in.
    pub fn cut(&self) {
        self.network.change(|weather| weather.cut());
    }

    /// Cuts by itself after so many more bytes, in the middle of whatever is being sent.
    pub fn cut_after(&self, bytes: u64) {
        self.network
            .change(|weather| weather.cut_after_bytes = Some(bytes));
    }

    /// Passes nothing on, while connections stay: a network that has gone silent.
    pub fn hold(&self) {
        self.network.change(|weather| weather.held = true);
    }

    /// Passes on so many bytes a second on each connection, in each direction.
    pub fn slow(&self, bytes_per_second: u32) {
        self.network.change(|weather| {
            weather.time_per_byte = Duration::from_secs(1) / bytes_per_second;
        });
    }

    /// Good weather again.
    pub fn resume(&self) {
        self.network.change(|weather| {
            (weather.cut, weather.held, weather.cut_after_bytes) = (false, false, None);
            weather.time_per_byte = Duration::ZERO;
        });
    }

    /// Bytes passed on so far, both directions.
    pub fn bytes(&self) -> u64 {
        self.network.bytes.load(Ordering::Relaxed)
    }

    /// Is the line cut now?
    pub fn is_cut(&self) -> bool {
        self.network.weather.lock().expect("no thread panicked").cut
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Network {
    fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().expect("no thread panicked"));
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Self>, near: TcpStream) {
        let mut weather = self.weather.lock().expect("no thread panicked");
        // A target that is down is seen by the caller as a connection that ends at once.
        let far = if weather.cut {
            None
        } else {
            TcpStream::connect(&self.target).ok()
        };
        let Some(far) = far else { return };
        let (Ok(near_2), Ok(far_2)) = (near.try_clone(), far.try_clone()) else {
            return;
        };
        weather
            .connections
            .extend([&near, &far].into_iter().flat_map(TcpStream::try_clone));
        drop(weather);
        self.pass_on(near, far);
        self.pass_on(far_2, near_2);
    }

    fn pass_on(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream) {
        let network = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let (length, time) = network.permit(length);
                pause(time);
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
    }

    /// Waits while held back; how many of `length` bytes may still pass, and how long they take.
    fn permit(&self, length: usize) -> (usize, Duration) {
        let weather = self.weather.lock().expect("no thread panicked");
        let mut weather = self
            .changed
            .wait_while(weather, |weather| weather.held)
            .expect("no thread panicked");
        let passing = weather.take(length);
        self.bytes.fetch_add(passing as u64, Ordering::Relaxed);
        (passing, weather.time_per_byte * passing as u32)
    }
}

impl Weather {
    fn cut(&mut self) {
        (self.cut, self.held, self.cut_after_bytes) = (true, false, None);
        for stream in self.connections.drain(..) {
            // Gone already: as wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn take(&mut self, length: usize) -> usize {
        let Some(left) = self.cut_after_bytes else {
            return length;
        };
        let passing = length.min(left as usize);
        self.cut_after_bytes = Some(left - passing as u64);
        if passing < length || left == passing as u64 {
            self.cut();
        }
        passing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut from = stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut from, &mut stream));
            }
        });
        address
    }

    fn echoes(address: &str, bytes: usize) -> bool {
        let Ok(mut stream) = TcpStream::connect(address) else {
            return false;
        };
        let mut back = vec![0; bytes];
        stream.write_all(&vec![7; bytes]).is_ok() && stream.read_exact(&mut back).is_ok()
    }

    #[test]
    fn passes_cuts_and_resumes() {
        let proxy = Proxy::start(&echo_server());
        assert!(echoes(&proxy.address(), 1000));
        proxy.cut();
        assert!(!echoes(&proxy.address(), 1000));
        proxy.resume();
        assert!(echoes(&proxy.address(), 1000));
        assert_eq!(proxy.bytes(), 4000);
    }

    #[test]
    fn slows_down() {
        let proxy = Proxy::start(&echo_server());
        proxy.slow(10_000);
        let began = std::time::Instant::now();
        assert!(echoes(&proxy.address(), 1000));
        // There and back, 0.1 s each.
        assert!(began.elapsed() >= Duration::from_millis(200));
    }

    #[test]
    fn cuts_in_the_middle() {
        let proxy = Proxy::start(&echo_server());
        proxy.cut_after(300);
        assert!(!echoes(&proxy.address(), 1000));
        assert!(proxy.is_cut());
    }
}
