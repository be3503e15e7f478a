//! A link between two processes that can be made slow, and cut.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Passes connections on to another address.
pub struct Link {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Nothing passes any more, and nobody is told.
    is_cut: AtomicBool,
    /// How long each piece is held back, in microseconds.
    delay_us: AtomicU64,
    passed_bytes: AtomicU64,
}

impl Link {
    /// A link that leads to `to`.
    ///
    /// # Panics
    /// Where there is no port, or no thread.
    pub fn to(to: &str) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, to) = (Arc::<State>::default(), to.to_owned());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Where nobody listens behind it, the connection is closed.
                let Ok(far) = TcpStream::connect(&to) else { continue };
                for stream in [&near, &far] {
                    stream.set_nodelay(true).expect("a connection can be set up");
                }
                let ends = [(&near, &far), (&far, &near)];
                for (from, to) in ends.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                    let (from, to) = (from.expect("a connection"), to.expect("a connection"));
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pass(from, to, &state));
                }
            }
        });
        Link { address, state }
    }

    /// Where it begins.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets nothing pass any more: connections stay open, and silent.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
    }

    /// Holds each piece back for so long, one after the other.
    pub fn slow_down(&self, delay: Duration) {
        self.state.delay_us.store(delay.as_micros() as u64, Ordering::SeqCst);
    }

    /// How many bytes have passed.
    pub fn passed_bytes(&self) -> u64 {
        self.state.passed_bytes.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut room = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut room) {
        if state.is_cut.load(Ordering::SeqCst) {
            // What is read is lost; nobody hears of it.
            continue;
        }
        std::thread::sleep(Duration::from_micros(state.delay_us.load(Ordering::SeqCst)));
        if to.write_all(&room[..read]).is_err() {
            break;
        }
        state.passed_bytes.fetch_add(read as u64, Ordering::SeqCst);
    }
    if !state.is_cut.load(Ordering::SeqCst) {
        // It may be closed already.
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

/// Addresses of this machine on which nobody listens, `count` of them: on a loopback address that hardly anybody else has,
/// so that nobody takes one before it is used.
///
/// # Panics
/// Where there are none.
pub fn free_addresses(count: usize) -> Vec<String> {
    let host = std::net::Ipv4Addr::from(0x7F00_0000 | (rand::random::<u32>() & 0x00FF_FFFF) | 0x0001_0002);
    // Held together, so that none is given twice.
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((host, 0)).expect("a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("an address").to_string()).collect()
}
