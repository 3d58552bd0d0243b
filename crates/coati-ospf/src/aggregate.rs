//! One destination in place of many outside of the AS: `summary-address` of an AS boundary router, and the ranges by
//! which a border router translates an NSSA's type 7 LSAs (RFC 3101 section 3.2).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use coati_wire::ospf::LsaBody;

use crate::config::{ExternalRange, ExternalRoute};
use crate::route::Destination;

/// The largest metric of an external destination.
const MAX_METRIC: u32 = 0x00ff_ffff;

/// What can be made one with others.
pub(crate) trait Aggregate {
    /// Whether its metric is larger than any inside, and the metric.
    fn metric(&self) -> (bool, u32);

    /// The one that stands for all.
    fn whole(destination: Destination, type2: bool, metric: u32, tag: u32) -> Self;
}

impl Aggregate for ExternalRoute {
    fn metric(&self) -> (bool, u32) {
        (self.type2, self.metric)
    }

    fn whole(destination: Destination, type2: bool, metric: u32, tag: u32) -> Self {
        let (network, prefix_len) = (destination.network(), destination.prefix_len());
        Self { network, prefix_len, type2, metric, tag, gateway: None }
    }
}

impl Aggregate for LsaBody {
    fn metric(&self) -> (bool, u32) {
        match self {
            Self::External { type2, metric, .. } => (*type2, *metric),
            _ => (true, MAX_METRIC),
        }
    }

    fn whole(destination: Destination, type2: bool, metric: u32, tag: u32) -> Self {
        Self::External { mask: destination.mask(), type2, metric, forwarding: Ipv4Addr::UNSPECIFIED, tag }
    }
}

/// Replaces what lies in a range by the range, or by nothing when it is not advertised; the most specific range decides.
/// What is the range itself stays as it is when nothing else lies in it. Of several, the metric is the largest; with one
/// of type 2 among them the whole is of type 2, and one more than the largest of those.
///
/// Returns the advertised ranges in which something lies, with what does: holes in them have to be filled.
pub(crate) fn aggregate<T: Aggregate>(
    items: &mut BTreeMap<Destination, T>,
    ranges: &[ExternalRange],
) -> BTreeMap<Destination, Vec<Destination>> {
    let mut found: BTreeMap<Destination, Vec<Destination>> = BTreeMap::new();
    let whole = |range: &ExternalRange| Destination::new(range.network, range.prefix_len);
    for destination in items.keys() {
        let covers = |range: &&ExternalRange| whole(range).contains(*destination);
        if let Some(range) = ranges.iter().filter(covers).max_by_key(|range| range.prefix_len) {
            found.entry(whole(range)).or_default().push(*destination);
        }
    }
    let mut live = BTreeMap::new();
    for range in ranges {
        let destination = whole(range);
        let Some(parts) = found.remove(&destination) else { continue };
        if range.advertise && parts == [destination] {
            continue;
        }
        let metrics: Vec<(bool, u32)> =
            parts.iter().filter_map(|part| items.remove(part)).map(|part| part.metric()).collect();
        let Some((type2, largest)) = metrics.into_iter().max().filter(|_| range.advertise) else { continue };
        let metric = range.cost.unwrap_or(largest.saturating_add(u32::from(type2))).min(MAX_METRIC);
        items.insert(destination, T::whole(destination, type2, metric, range.tag));
        live.insert(destination, parts);
    }
    live
}
