//! A raw speaker: it plays one neighbour or many, which all have the same database, and does for each what RFC 2328
//! asks of a neighbour: hellos, descriptions as the master, answers, acknowledgements. It computes nothing.
//!
//! Its first hello lists the router that is measured, so that nobody waits for the next one. It answers requests when
//! both databases are described: FRR 8.4 loses answers that come before.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coati_os::process::wait_readable;
use coati_os::raw::OspfSocket;
use coati_wire::ospf::{
    ALL_ROUTERS, AUTH_NULL, DatabaseDescription, HEADER_LEN, Header, Hello, LSA_HEADER_LEN, Lsa, LsaHeader,
    LsaKey, OPTION_E, Packet,
};

/// IPv4 header's length in bytes.
const IP_HEADER_LEN: usize = 20;
const MTU: usize = 1500;
const HELLO: Duration = Duration::from_secs(10);
const REPEAT: Duration = Duration::from_secs(1);
/// Time for the other side to be done with its part of the descriptions.
const WAIT_FOR_EXCHANGE: Duration = Duration::from_millis(200);

/// A neighbour that is to be played.
pub struct Role {
    pub socket: OspfSocket,
    pub router_id: Ipv4Addr,
}

/// What was sent and received.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub descriptions: usize,
    pub requests: usize,
    pub requested: usize,
    pub received: usize,
    pub sent: usize,
    /// Neighbours whose descriptions are done.
    pub exchanged: usize,
    /// The last answer to a request.
    pub answered: Option<Instant>,
    /// The last change that was flooded.
    pub flooded: Option<Instant>,
}

enum Order {
    Flood(Vec<Lsa>),
}

/// Speaks from its start to its end.
pub struct Speaker {
    orders: Option<Sender<Order>>,
    counts: Arc<Mutex<Counts>>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    /// Begins to speak with the router `peer`.
    pub fn start(roles: Vec<Role>, peer: Ipv4Addr, lsas: Vec<Lsa>) -> Self {
        let (orders, receiver) = channel();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let now = Instant::now();
        let neighbour = |role: Role| Neighbour {
            socket: role.socket,
            header: Header {
                router_id: role.router_id,
                area: Ipv4Addr::UNSPECIFIED,
                auth_kind: AUTH_NULL,
                auth: [0; 8],
            },
            hello_due: now,
            said_hello: false,
            exchange: Exchange::default(),
            held: Vec::new(),
        };
        let mut talk = Talk {
            neighbours: roles.into_iter().map(neighbour).collect(),
            peer,
            order: lsas.iter().map(|lsa| lsa.header.key).collect(),
            database: lsas.into_iter().map(|lsa| (lsa.header.key, lsa)).collect(),
            counts: counts.clone(),
        };
        let thread = std::thread::spawn(move || {
            if let Err(error) = talk.run(&receiver) {
                eprintln!("the speaker has ended: {error}");
            }
        });
        Self { orders: Some(orders), counts, thread: Some(thread) }
    }

    /// What it has counted so far.
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its first neighbour originates these.
    pub fn flood(&self, lsas: Vec<Lsa>) {
        if let Some(orders) = &self.orders {
            // One that has ended has said so.
            let _ = orders.send(Order::Flood(lsas));
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Exchange {
    sequence: u32,
    /// How much of the database has been described.
    described: usize,
    last: Option<(Instant, DatabaseDescription)>,
    /// Since when both are done.
    done: Option<Instant>,
}

struct Neighbour {
    socket: OspfSocket,
    header: Header,
    hello_due: Instant,
    said_hello: bool,
    exchange: Exchange,
    /// Requests that wait, and until when.
    held: Vec<(Instant, Vec<LsaKey>)>,
}

struct Talk {
    neighbours: Vec<Neighbour>,
    peer: Ipv4Addr,
    order: Vec<LsaKey>,
    database: HashMap<LsaKey, Lsa>,
    counts: Arc<Mutex<Counts>>,
}

impl Talk {
    fn run(&mut self, orders: &Receiver<Order>) -> io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Flood(lsas)) => self.flood(lsas)?,
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let now = Instant::now();
            for index in 0..self.neighbours.len() {
                self.timers(now, index)?;
            }
            let sockets: Vec<_> = self.neighbours.iter().map(|neighbour| neighbour.socket.as_fd()).collect();
            let ready = wait_readable(&sockets, Some(Duration::from_millis(1)))?;
            for index in ready.iter().enumerate().filter(|(_, ready)| **ready).map(|(index, _)| index) {
                while let Some(neighbour) = self.neighbours.get(index)
                    && let Ok(length) = neighbour.socket.receive(&mut buffer)
                {
                    let packet = buffer.get(IP_HEADER_LEN..length).unwrap_or(&[]);
                    if let Ok((header, packet)) = Packet::parse(packet)
                        && header.router_id == self.peer
                    {
                        self.receive(index, packet)?;
                    }
                }
            }
        }
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn send(&self, index: usize, packet: &Packet) -> io::Result<()> {
        let Some(neighbour) = self.neighbours.get(index) else { return Ok(()) };
        self.count(|counts| counts.sent += 1);
        neighbour.socket.send(ALL_ROUTERS, 1, &packet.emit(&neighbour.header))
    }

    fn timers(&mut self, now: Instant, index: usize) -> io::Result<()> {
        let (peer, count) = (self.peer, self.neighbours.len());
        let Some(neighbour) = self.neighbours.get_mut(index) else { return Ok(()) };
        if neighbour.hello_due <= now {
            // Spread over the interval from the second one on.
            let spread =
                if neighbour.said_hello { Duration::ZERO } else { HELLO * index as u32 / count as u32 };
            neighbour.said_hello = true;
            neighbour.hello_due = now + HELLO + spread;
            let hello = Hello {
                mask: Ipv4Addr::new(255, 255, 255, 252),
                hello_interval: 10,
                options: OPTION_E,
                priority: 1,
                dead_interval: 40,
                designated: Ipv4Addr::UNSPECIFIED,
                backup: Ipv4Addr::UNSPECIFIED,
                neighbours: vec![peer],
            };
            self.send(index, &Packet::Hello(hello))?;
        }
        let Some(neighbour) = self.neighbours.get_mut(index) else { return Ok(()) };
        if neighbour.exchange.done.is_none()
            && let Some((sent, last)) = &mut neighbour.exchange.last
            && now.saturating_duration_since(*sent) > REPEAT
        {
            *sent = now;
            let last = last.clone();
            self.send(index, &Packet::DatabaseDescription(last))?;
        }
        let Some(neighbour) = self.neighbours.get_mut(index) else { return Ok(()) };
        let done = neighbour.exchange.done.is_some();
        let due: Vec<_> = neighbour.held.extract_if(.., |(until, _)| done || *until <= now).collect();
        for (_, keys) in due {
            self.answer(index, &keys)?;
        }
        Ok(())
    }

    fn describe(&mut self, index: usize, description: DatabaseDescription) -> io::Result<()> {
        if let Some(neighbour) = self.neighbours.get_mut(index) {
            neighbour.exchange.last = Some((Instant::now(), description.clone()));
        }
        self.count(|counts| counts.descriptions += 1);
        self.send(index, &Packet::DatabaseDescription(description))
    }

    fn receive(&mut self, index: usize, packet: Packet) -> io::Result<()> {
        self.count(|counts| counts.received += 1);
        match packet {
            Packet::Hello(_) | Packet::LinkStateAck(_) => Ok(()),
            Packet::DatabaseDescription(theirs) => self.described(index, &theirs),
            Packet::LinkStateRequest(keys) => {
                self.count(|counts| {
                    counts.requests += 1;
                    counts.requested += keys.len();
                });
                let Some(neighbour) = self.neighbours.get_mut(index) else { return Ok(()) };
                if neighbour.exchange.done.is_some() {
                    return self.answer(index, &keys);
                }
                neighbour.held.push((Instant::now() + WAIT_FOR_EXCHANGE, keys));
                Ok(())
            }
            Packet::LinkStateUpdate { lsas, .. } => {
                let headers: Vec<LsaHeader> = lsas.iter().map(|lsa| lsa.header).collect();
                self.send(index, &Packet::LinkStateAck(headers))
            }
        }
    }

    /// Section 10.8, as the master: our router id is the higher one.
    fn described(&mut self, index: usize, theirs: &DatabaseDescription) -> io::Result<()> {
        let ours = |flags, sequence, headers| DatabaseDescription {
            mtu: MTU as u16,
            options: OPTION_E,
            flags,
            sequence,
            headers,
        };
        let Some(neighbour) = self.neighbours.get_mut(index) else { return Ok(()) };
        let exchange = &mut neighbour.exchange;
        if theirs.flags & DatabaseDescription::INIT != 0 {
            // It begins; again when it does not know us any more.
            let first =
                exchange.last.as_ref().is_none_or(|(_, last)| last.flags & DatabaseDescription::INIT == 0);
            if first {
                *exchange = Exchange { sequence: exchange.sequence + 1000, ..Exchange::default() };
            }
            let sequence = exchange.sequence;
            let flags = DatabaseDescription::INIT | DatabaseDescription::MORE | DatabaseDescription::MASTER;
            return self.describe(index, ours(flags, sequence, Vec::new()));
        }
        if theirs.sequence != exchange.sequence || exchange.done.is_some() {
            return Ok(());
        }
        let we_were_done = exchange.last.as_ref().is_some_and(|(_, last)| {
            last.flags & (DatabaseDescription::MORE | DatabaseDescription::INIT) == 0
        });
        if we_were_done && theirs.flags & DatabaseDescription::MORE == 0 {
            exchange.done = Some(Instant::now());
            self.count(|counts| counts.exchanged += 1);
            return Ok(());
        }
        let most = (MTU - IP_HEADER_LEN - HEADER_LEN - 8) / LSA_HEADER_LEN;
        let keys = self.order.iter().skip(exchange.described).take(most);
        let headers: Vec<LsaHeader> = keys.filter_map(|key| Some(self.database.get(key)?.header)).collect();
        exchange.described += headers.len();
        exchange.sequence += 1;
        let more = exchange.described < self.order.len();
        let flags = DatabaseDescription::MASTER | if more { DatabaseDescription::MORE } else { 0 };
        let sequence = exchange.sequence;
        self.describe(index, ours(flags, sequence, headers))
    }

    fn answer(&mut self, index: usize, keys: &[LsaKey]) -> io::Result<()> {
        let lsas: Vec<Lsa> = keys.iter().filter_map(|key| self.database.get(key).cloned()).collect();
        self.update(index, lsas)?;
        self.count(|counts| counts.answered = Some(Instant::now()));
        Ok(())
    }

    /// As many packets as it takes.
    fn update(&self, index: usize, lsas: Vec<Lsa>) -> io::Result<()> {
        let room = MTU - IP_HEADER_LEN - HEADER_LEN - 4;
        let (mut packet, mut length) = (Vec::new(), 0);
        for lsa in lsas {
            if length + lsa.bytes.len() > room && !packet.is_empty() {
                let lsas = std::mem::take(&mut packet);
                self.send(index, &Packet::LinkStateUpdate { lsas, bad: Vec::new() })?;
                length = 0;
            }
            length += lsa.bytes.len();
            packet.push(lsa);
        }
        match packet.is_empty() {
            true => Ok(()),
            false => self.send(index, &Packet::LinkStateUpdate { lsas: packet, bad: Vec::new() }),
        }
    }

    fn flood(&mut self, lsas: Vec<Lsa>) -> io::Result<()> {
        for lsa in &lsas {
            self.database.insert(lsa.header.key, lsa.clone());
        }
        let now = Instant::now();
        self.count(|counts| counts.flooded = Some(now));
        self.update(0, lsas)
    }
}
