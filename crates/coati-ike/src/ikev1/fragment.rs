//! Fragments of phase 1 messages, as Cisco and racoon cut them.
//!
//! A piece is a message of its own with the same cookies and one payload of type 132: an id of the whole, a number
//! from 1, a flag on the last one. What is joined is a complete message with a header of its own.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coati_wire::isakmp::{self, Fragment, HEADER_LEN, Header, kind};

/// Longest datagram that is sent in phase 1 when fragments are in use, in bytes.
const MAX_LEN: usize = 552;
/// Messages that are being joined at one time.
const MAX_MESSAGES: usize = 256;
/// Bytes of one of them.
const MAX_BYTES: usize = 16 * 1024;
/// How long the pieces may take to come.
const LIFE: Duration = Duration::from_secs(30);

/// The capabilities behind the vendor id's hash: main and aggressive mode.
pub(crate) const CAPABILITIES: [u8; 4] = [0x80, 0, 0, 0];

/// Cuts a message when it is too long.
pub(crate) fn split(message: Vec<u8>, id: u16) -> Vec<Vec<u8>> {
    if message.len() <= MAX_LEN {
        return vec![message];
    }
    let Ok((header, _)) = Header::parse(&message) else { return vec![message] };
    let room = MAX_LEN - HEADER_LEN - 8;
    let count = message.len().div_ceil(room);
    let piece = |(index, data): (usize, &[u8])| {
        let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
        let body = Fragment { id, number, last: index + 1 == count, data: data.to_vec() }.emit();
        let (next_payload, chain) = isakmp::chain(&[(kind::FRAGMENT, body)]);
        let mut bytes = Header { next_payload, flags: 0, ..header }.emit(chain.len()).to_vec();
        bytes.extend_from_slice(&chain);
        bytes
    };
    message.chunks(room).enumerate().map(piece).collect()
}

/// Messages of which some pieces are here.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    messages: HashMap<(SocketAddr, [u8; 8]), Pieces>,
}

#[derive(Debug)]
struct Pieces {
    id: u16,
    since: Instant,
    last: Option<u8>,
    bytes: usize,
    list: BTreeMap<u8, Vec<u8>>,
}

impl Reassembly {
    /// Takes a piece; returns the message when it is complete, or why the piece was dropped.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        header: &Header,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let list = isakmp::payloads(header.next_payload, body).map_err(|_| "fragment malformed")?;
        let [payload] = list.as_slice() else { return Err("fragment malformed") };
        let piece = Fragment::parse(payload.body).map_err(|_| "fragment malformed")?;
        if piece.number == 0 || piece.data.is_empty() {
            return Err("fragment malformed");
        }
        self.messages.retain(|_, pieces| now.saturating_duration_since(pieces.since) < LIFE);
        let key = (remote, header.initiator_cookie);
        if !self.messages.contains_key(&key) && self.messages.len() >= MAX_MESSAGES {
            // Senders may be invented: any one goes. The table's hash is keyed, so nobody can choose which.
            let any = self.messages.keys().next().copied();
            any.map(|any| self.messages.remove(&any));
        }
        let empty = || Pieces { id: piece.id, since: now, last: None, bytes: 0, list: BTreeMap::new() };
        let pieces = self.messages.entry(key).or_insert_with(empty);
        if pieces.id != piece.id {
            *pieces = empty();
        }
        if piece.last {
            let beyond = pieces.list.keys().next_back().is_some_and(|highest| *highest > piece.number);
            if beyond || pieces.last.is_some_and(|last| last != piece.number) {
                return Err("fragment behind the last one");
            }
            pieces.last = Some(piece.number);
        } else if pieces.last.is_some_and(|last| piece.number >= last) {
            return Err("fragment behind the last one");
        }
        if pieces.list.contains_key(&piece.number) {
            return Ok(None);
        }
        if pieces.bytes + piece.data.len() > MAX_BYTES {
            self.messages.remove(&key);
            return Err("fragmented message too long");
        }
        pieces.bytes += piece.data.len();
        pieces.list.insert(piece.number, piece.data);
        if pieces.last.map(usize::from) != Some(pieces.list.len()) {
            return Ok(None);
        }
        let whole = self.messages.remove(&key).map(|pieces| pieces.list.into_values().flatten().collect());
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(len: usize) -> Vec<u8> {
        let header = Header {
            initiator_cookie: [7; 8],
            responder_cookie: [0; 8],
            next_payload: kind::NONCE,
            exchange: 2,
            flags: 0,
            message_id: 0,
        };
        let (_, chain) = isakmp::chain(&[(kind::NONCE, (0..len).map(|i| (i % 251) as u8).collect())]);
        let mut bytes = header.emit(chain.len()).to_vec();
        bytes.extend_from_slice(&chain);
        bytes
    }

    fn give(
        reassembly: &mut Reassembly,
        now: Instant,
        piece: &[u8],
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let (header, body) = Header::parse(piece).unwrap();
        reassembly.add(now, "192.0.2.1:500".parse().unwrap(), &header, body)
    }

    proptest! {
        #[test]
        fn any_order_with_repetitions(len in 600usize..5000, order in any::<prop::sample::Index>(), seed: u64) {
            let whole = message(len);
            let mut pieces = split(whole.clone(), 3);
            let mut random = coati_crypto::SeededRandom::new(seed);
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, coati_crypto::RandomSource::below(&mut random, i as u32 + 1) as usize);
            }
            let again = order.index(pieces.len());
            let mut reassembly = Reassembly::default();
            let now = Instant::now();
            let mut found = None;
            for (index, piece) in pieces.iter().enumerate() {
                if index == again && index > 0 {
                    prop_assert_eq!(give(&mut reassembly, now, &pieces[index - 1]), Ok(None));
                }
                if let Some(message) = give(&mut reassembly, now, piece).unwrap() {
                    found = Some(message);
                }
            }
            prop_assert_eq!(found, Some(whole));
            prop_assert!(reassembly.messages.is_empty());
        }

        #[test]
        fn hostile_pieces(list in prop::collection::vec((any::<u16>(), any::<u8>(), any::<bool>(), 0usize..2000), 0..80)) {
            let mut reassembly = Reassembly::default();
            for (id, number, last, len) in list {
                let (next_payload, chain) = isakmp::chain(&[(kind::FRAGMENT, Fragment { id: id % 2, number, last, data: vec![0; len] }.emit())]);
                let (header, _) = Header::parse(&message(1)).unwrap();
                let header = Header { next_payload, ..header };
                let _ = reassembly.add(Instant::now(), "192.0.2.1:500".parse().unwrap(), &header, &chain);
                let held: usize = reassembly.messages.values().map(|pieces| pieces.bytes).sum();
                prop_assert!(held <= MAX_BYTES);
            }
        }
    }

    #[test]
    fn invented_senders_cost_a_bounded_amount() {
        let pieces = split(message(1500), 1);
        let (header, body) = Header::parse(&pieces[0]).unwrap();
        let mut reassembly = Reassembly::default();
        for host in 0..5000u32 {
            let remote = SocketAddr::new(std::net::IpAddr::V4(host.into()), 500);
            assert_eq!(reassembly.add(Instant::now(), remote, &header, body), Ok(None));
        }
        assert_eq!(reassembly.messages.len(), MAX_MESSAGES);
    }

    #[test]
    fn two_tails_and_what_lies_behind_the_tail() {
        let pieces = split(message(1500), 1);
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        assert_eq!(give(&mut reassembly, now, &pieces[2]), Ok(None));
        let (header, _) = Header::parse(&pieces[0]).unwrap();
        for (number, last) in [(2, true), (4, true), (4, false), (3, false)] {
            let body = Fragment { id: 1, number, last, data: vec![1] }.emit();
            let (_, chain) = isakmp::chain(&[(kind::FRAGMENT, body)]);
            let found = reassembly.add(now, "192.0.2.1:500".parse().unwrap(), &header, &chain);
            assert_eq!(found, Err("fragment behind the last one"), "{number} {last}");
        }
    }

    #[test]
    fn what_does_not_come_is_forgotten() {
        let pieces = split(message(1500), 1);
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        assert_eq!(give(&mut reassembly, now, &pieces[0]), Ok(None));
        let later = now + LIFE;
        assert_eq!(give(&mut reassembly, later, &pieces[1]), Ok(None));
        assert_eq!(give(&mut reassembly, later, &pieces[2]), Ok(None));
        assert!(give(&mut reassembly, later, &pieces[0]).unwrap().is_some());
    }
}
