//! A path that swallows large packets: hellos come, and what is large is never answered. Tunnels have such paths, where a
//! router on the way drops what is too long for the next link and nobody hears of it. After a few repetitions packets
//! are no longer than any path has to carry.

use coati_wire::ospf::LsaKey;

use crate::engine::{Engine, Event};
use crate::interface::{NARROW, Topic};
use crate::neighbour::Peer;

/// So many large packets in a row that are not answered are no chance.
const PATIENCE: u32 = 3;

impl Engine {
    /// Something of this length, with its IP header, is sent again because nobody answered. Whether from now on shorter
    /// packets are sent.
    pub(crate) fn unanswered(&mut self, peer: Peer, length: usize) -> bool {
        let Some(interface) = self.interfaces.get_mut(&peer.interface) else { return false };
        if interface.narrow || length <= NARROW {
            return false;
        }
        let name = interface.link.name.clone();
        let Some(neighbour) = interface.neighbours.get_mut(&peer.key) else { return false };
        neighbour.unanswered += 1;
        if neighbour.unanswered < PATIENCE {
            return false;
        }
        interface.narrow = true;
        let text = format!(
            "{name}: {} does not answer packets of {length} bytes, and its hellos come: the path seems to swallow large \
             packets; they are {NARROW} bytes at the most now (give {name} a smaller MTU, at both ends)",
            neighbour.router_id
        );
        interface.problems[Topic::Path as usize] = Some(text.clone());
        self.events.push_back(Event::Problem(text));
        true
    }

    /// A neighbour has asked, and got packets of up to this length: when it asks for the same again it has not got them.
    pub(crate) fn asked(&mut self, peer: Peer, keys: &[LsaKey], length: usize) {
        let first = keys.first().copied();
        let Some(neighbour) = self.neighbour_mut(peer) else { return };
        if std::mem::replace(&mut neighbour.last_asked, first) == first {
            self.unanswered(peer, length);
        } else {
            neighbour.unanswered = 0;
        }
    }
}
