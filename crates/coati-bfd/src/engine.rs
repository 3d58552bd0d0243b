//! All sessions, found by their numbers and ends.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Instant;

use coati_crypto::RandomSource;
use coati_wire::WireError;
use coati_wire::bfd::{Control, Diagnostic, State, TTL};

use crate::session::{Change, Session, Times};

/// Where a session is: one for each neighbour on each interface (RFC 5881 section 3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// Interface index.
    pub interface: u32,
    /// The other end.
    pub peer: Ipv4Addr,
}

/// A session that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub ends: Ends,
    /// The interface's name.
    pub name: String,
    /// Our address there.
    pub local: Ipv4Addr,
    /// How often packets go.
    pub times: Times,
}

/// A datagram that has come to UDP port 3784.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// On this interface.
    pub interface: u32,
    /// From this address.
    pub source: Ipv4Addr,
    /// With this TTL.
    pub ttl: u8,
    /// Its payload.
    pub payload: &'a [u8],
}

/// A datagram to send to UDP port 3784, with TTL 255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Out of this interface.
    pub interface: u32,
    /// From this address.
    pub source: Ipv4Addr,
    /// To this one.
    pub destination: Ipv4Addr,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Something happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Packets get through, both ways.
    Up {
        /// Where.
        ends: Ends,
        /// The interface's name.
        name: String,
    },
    /// They did, and do not any more.
    Down {
        /// Where.
        ends: Ends,
        /// The interface's name.
        name: String,
        /// Why.
        diagnostic: Diagnostic,
        /// What the other end has said last.
        remote: Diagnostic,
        /// The other end has switched its session off: that says nothing about the path.
        switched_off: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) local: Ipv4Addr,
    pub(crate) session: Session,
}

/// BFD of one host.
pub struct Engine {
    pub(crate) sessions: BTreeMap<Ends, Entry>,
    /// Sessions by our discriminator.
    numbers: BTreeMap<u32, Ends>,
    random: Box<dyn RandomSource>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    dropped: BTreeMap<&'static str, u64>,
}

impl Engine {
    /// An engine without sessions.
    pub fn new(random: Box<dyn RandomSource>) -> Self {
        Self {
            sessions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            random,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// From now on there are exactly these sessions. Those that go say so to their other ends; those that stay keep
    /// their state, whatever becomes of their times.
    pub fn set_sessions(&mut self, now: Instant, wanted: Vec<Wanted>) {
        let wanted: BTreeMap<Ends, Wanted> =
            wanted.into_iter().map(|wanted| (wanted.ends.clone(), wanted)).collect();
        let stays = |ends: &Ends, entry: &Entry| wanted.get(ends).is_some_and(|w| w.local == entry.local);
        let gone: Vec<Ends> = self
            .sessions
            .iter()
            .filter(|(ends, entry)| !stays(ends, entry))
            .map(|(e, _)| e.clone())
            .collect();
        for ends in gone {
            self.end(&ends);
        }
        for (ends, wanted) in wanted {
            match self.sessions.get_mut(&ends) {
                Some(entry) => entry.session.set_times(now, wanted.times),
                None => self.begin(now, ends, wanted),
            }
        }
        self.handle_timeout(now);
    }

    fn begin(&mut self, now: Instant, ends: Ends, wanted: Wanted) {
        let mut discriminator = self.random.number();
        while discriminator == 0 || self.numbers.contains_key(&discriminator) {
            discriminator = self.random.number();
        }
        let session = Session::new(now, discriminator, wanted.times);
        self.numbers.insert(discriminator, ends.clone());
        self.sessions.insert(ends, Entry { name: wanted.name, local: wanted.local, session });
    }

    fn end(&mut self, ends: &Ends) {
        let Some(mut entry) = self.sessions.remove(ends) else { return };
        self.numbers.remove(&entry.session.discriminator);
        let packet = entry.session.end();
        self.send(ends, entry.local, &packet);
    }

    /// Takes a datagram.
    pub fn handle_input(&mut self, now: Instant, input: &Input<'_>) {
        if input.ttl != TTL {
            return self.count_drop("TTL below 255");
        }
        let packet = match Control::parse(input.payload) {
            Ok(packet) => packet,
            Err(error) => return self.count_drop(malformed(&error)),
        };
        let from = Ends { interface: input.interface, peer: input.source };
        if packet.yours != 0 && self.numbers.get(&packet.yours) != Some(&from) {
            return self.count_drop("discriminator of no session with the sender");
        }
        let Some(entry) = self.sessions.get_mut(&from) else {
            return self.count_drop("no session with the sender");
        };
        let (answer, change) = entry.session.receive(now, &packet);
        let local = entry.local;
        let answer = answer.then(|| entry.session.answer());
        self.tell(&from, change);
        if let Some(answer) = answer {
            self.send(&from, local, &answer);
        }
        self.handle_timeout(now);
    }

    /// The earliest time at which [`Engine::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.sessions.values().filter_map(|entry| entry.session.next_timeout()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |entry: &Entry| entry.session.next_timeout().is_some_and(|due| due <= now);
        let list: Vec<Ends> =
            self.sessions.iter().filter(|(_, entry)| due(entry)).map(|(ends, _)| ends.clone()).collect();
        for ends in list {
            let Some(entry) = self.sessions.get_mut(&ends) else { continue };
            let change = entry.session.expire(now);
            let (packet, local) = (entry.session.periodic(now, &mut *self.random), entry.local);
            self.tell(&ends, change);
            if let Some(packet) = packet {
                self.send(&ends, local, &packet);
            }
        }
    }

    fn tell(&mut self, ends: &Ends, change: Option<Change>) {
        let (Some(change), Some(entry)) = (change, self.sessions.get(ends)) else { return };
        let (ends, name) = (ends.clone(), entry.name.clone());
        self.events.push_back(match change {
            Change::Up => Event::Up { ends, name },
            Change::Down(diagnostic) => {
                let remote = entry.session.remote.diagnostic;
                // FRR 8.4 takes its leave by saying that we have told it to be down, which we have not.
                let leaves = [Diagnostic::ADMIN_DOWN, Diagnostic::NEIGHBOUR_DOWN].contains(&remote);
                let switched_off = entry.session.remote.state == State::AdminDown
                    || diagnostic == Diagnostic::NEIGHBOUR_DOWN && leaves;
                Event::Down { ends, name, diagnostic, remote, switched_off }
            }
        });
    }

    fn send(&mut self, ends: &Ends, source: Ipv4Addr, packet: &Control) {
        self.transmits.push_back(Transmit {
            interface: ends.interface,
            source,
            destination: ends.peer,
            payload: packet.emit(),
        });
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Interfaces that have sessions, with our addresses there.
    pub fn interfaces(&self) -> BTreeMap<u32, (&str, Ipv4Addr)> {
        let all = self.sessions.iter();
        all.map(|(ends, entry)| (ends.interface, (entry.name.as_str(), entry.local))).collect()
    }

    /// Datagrams that were dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.dropped.iter().map(|(why, count)| (*why, *count))
    }

    fn count_drop(&mut self, why: &'static str) {
        *self.dropped.entry(why).or_default() += 1;
    }
}

fn malformed(error: &WireError) -> &'static str {
    match error {
        WireError::Version { .. } => "another version of BFD",
        WireError::Value { what: "BFD authentication", .. } => "authentication, which is not supported",
        WireError::Value { .. } => "a value that is not allowed",
        _ => "length that does not fit",
    }
}
