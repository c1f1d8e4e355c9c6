//! A link between a node and the peers that dial it here. It can be slow, or lead nowhere any more.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Packets that wait for their turn on a slow link. Further ones are lost, as they are in a
/// router.
const QUEUE_MAX: usize = 16;
/// Longer than any packet of QUIC.
const PACKET_BYTES_MAX: usize = 1 << 16;
/// How often a link looks whether the test is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Passes on the packets of one client. It ends with this value.
pub struct Link {
    address: String,
    state: Arc<State>,
}

struct State {
    client: Mutex<Option<SocketAddr>>,
    /// Nothing comes from the client.
    silent: AtomicBool,
    closed: AtomicBool,
}

impl Link {
    /// A link to the node that listens at `node`. To its client come so many bytes a second, if
    /// there is a limit.
    pub fn to(node: &str, bytes_per_second: Option<u32>) -> Self {
        let parts: Vec<&str> = node.split('/').collect();
        let ["", "ip4", ip, "udp", port, "quic-v1", "p2p", _] = parts[..] else {
            panic!("{node} is no address of a node by QUIC")
        };
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(LOOK_EVERY)).unwrap();
            Arc::new(socket)
        };
        let (near, far) = (bind(), bind());
        far.connect(format!("{ip}:{port}")).unwrap();
        let own = near.local_addr().unwrap().port().to_string();
        let state = Arc::new(State {
            client: Mutex::default(),
            silent: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let (queue, queued) = sync_channel(QUEUE_MAX);
        thread::spawn({
            let (state, near, far) = (Arc::clone(&state), Arc::clone(&near), Arc::clone(&far));
            move || {
                state.receive(&near, |packet, from| {
                    // A new connection begins with a long header (RFC 9000, section 17.2).
                    if packet[0] & 0x80 != 0 {
                        state.silent.store(false, Ordering::SeqCst);
                    }
                    if !state.silent.load(Ordering::SeqCst) {
                        *state.client.lock().unwrap() = Some(from);
                        // QUIC sends lost packets again.
                        let _ = far.send(packet);
                    }
                });
            }
        });
        thread::spawn({
            let state = Arc::clone(&state);
            move || {
                state.receive(&far, |packet, _| {
                    let _ = queue.try_send(packet.to_vec());
                });
            }
        });
        thread::spawn({
            let state = Arc::clone(&state);
            move || state.pass_on(&near, &queued, bytes_per_second)
        });
        Self {
            address: node.replace(&format!("/udp/{port}/"), &format!("/udp/{own}/")),
            state,
        }
    }

    /// Where the node is to be dialled.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// From now on the client's connection leads nowhere, though the client still hears: the
    /// machine of the client is suspended, and does not know that nobody is left at the other end.
    /// A new connection is not held up.
    pub fn silence(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn receive(&self, socket: &UdpSocket, mut packet: impl FnMut(&[u8], SocketAddr)) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.closed.load(Ordering::SeqCst) {
            // Otherwise there is nothing, or the node is not there yet.
            if let Ok((bytes @ 1.., from)) = socket.recv_from(&mut buffer) {
                packet(&buffer[..bytes], from);
            }
        }
    }

    fn pass_on(&self, near: &UdpSocket, queued: &Receiver<Vec<u8>>, bytes_per_second: Option<u32>) {
        let mut free = Instant::now();
        // Ends with the thread that fills it.
        for packet in queued {
            if let Some(rate) = bytes_per_second {
                free = free.max(Instant::now()) + Duration::from_secs(packet.len() as u64) / rate;
                thread::sleep(free.saturating_duration_since(Instant::now()));
            }
            if let Some(client) = *self.client.lock().unwrap() {
                let _ = near.send_to(&packet, client);
            }
        }
    }
}
