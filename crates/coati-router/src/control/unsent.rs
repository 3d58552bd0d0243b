//! Packets of OSPF that the system does not take: no buffer, no permission, no route. Nobody is given up for that: what was
//! not acknowledged is sent again, and hellos follow.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::{Control, Now};

/// It is over when a packet has left and none has failed for so long. A queue that is full takes one packet and not the
/// next, and each change would be told.
const QUIET: Duration = Duration::from_secs(10);

/// What does not leave.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// By interface, when it was the last time, and what is said about it.
    interfaces: BTreeMap<u32, (Instant, String)>,
    pub(super) count: u64,
}

impl Unsent {
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.interfaces.values().map(|(_, text)| text.clone())
    }

    pub(super) fn keep(&mut self, is_there: impl Fn(u32) -> bool) {
        self.interfaces.retain(|index, _| is_there(*index));
    }
}

impl Control {
    /// How the system took a packet of [`Self::poll_ospf`]. Gives what is to be told of it: when packets begin not to
    /// leave, and when that is over.
    pub fn handle_sent(&mut self, now: Now, interface: u32, result: &io::Result<()>) -> Option<String> {
        let unsent = &mut self.unsent;
        let name = || self.links.get(&interface).map_or("an interface that is gone", |(link, _)| &link.name);
        let known = unsent.interfaces.get_mut(&interface);
        match (result, known) {
            (Ok(()), Some((last, _))) if now.at.saturating_duration_since(*last) >= QUIET => {
                unsent.interfaces.remove(&interface);
                Some(format!("OSPF on {}: packets leave again", name()))
            }
            (Ok(()), _) => None,
            (Err(_), Some((last, _))) => {
                unsent.count += 1;
                *last = now.at;
                None
            }
            (Err(error), None) => {
                unsent.count += 1;
                let text = format!("OSPF on {}: packets do not leave: {error}", name());
                if self.links.contains_key(&interface) {
                    unsent.interfaces.insert(interface, (now.at, text.clone()));
                }
                Some(text)
            }
        }
    }
}
