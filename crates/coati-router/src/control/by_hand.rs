//! SAs whose keys setkey gave them: nobody renews them, and nobody agrees with the other end about when they begin anew.

use std::collections::BTreeSet;

use coati_sadb::{Expire, Request, SaId, SaProto};

use crate::plane::Plane;

/// So many packets that were there before, and none that was new, are more than a network repeats by itself.
const REPEATED: u64 = 5;

/// Which SAs these are.
#[derive(Debug, Default)]
pub(super) struct ByHand(BTreeSet<SaId>);

impl ByHand {
    pub(super) fn of<'a>(requests: impl Iterator<Item = &'a Request>) -> Self {
        let mut all = Self::default();
        requests.for_each(|request| all.follow(request));
        all
    }

    /// What a request makes of them.
    pub(super) fn follow(&mut self, request: &Request) {
        match request {
            Request::Add(sa) if sa.id.proto != SaProto::Ipcomp => drop(self.0.insert(sa.id)),
            Request::Delete(id) => drop(self.0.remove(id)),
            Request::DeleteAll { source, destination, proto } => {
                self.0.retain(|id| (id.source, id.destination, id.proto) != (*source, *destination, *proto))
            }
            Request::Flush(proto) => self.0.retain(|id| proto.is_some_and(|proto| proto != id.proto)),
            _ => {}
        }
    }

    /// Whether this is the end of one.
    pub(super) fn ends(&mut self, expire: &Expire) -> bool {
        expire.hard && self.0.remove(&expire.id)
    }

    /// Those through which only packets come that were there before, explained. `wall` is now, in Unix seconds.
    pub(super) fn repeated(&self, plane: &Plane, wall: u64) -> impl Iterator<Item = String> {
        let found = plane.only_repeated(REPEATED).into_iter().filter(|(id, ..)| self.0.contains(id));
        found.map(move |(id, count, since)| {
            format!(
                "all {count} packets of the last {} s through SA {} from {} were there before: the other end has started \
                 again with the same keys, or somebody repeats its packets. Load them at both ends (setkey -f), or use IKE",
                wall.saturating_sub(since),
                id.spi,
                id.source
            )
        })
    }
}
