//! The kernel, asked and heard over netlink.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use coati_kernel::{
    Abilities, Event, FoundPolicy, FoundSa, Kernel, KernelHome, Leftovers, spi_range, stillborn, trial_id,
};
use coati_sadb::{
    Direction, Mode, Offload, Policy, PolicyId, Refusal, ReqId, Request, Sa, SaId, SaProto, Selector, Spi,
};
use coati_wire::xfrm::{self, Attribute, Body, Message, SpiRange, messages, offload};
use zeroize::Zeroizing;

use crate::algorithm::{ALWAYS, modules};
use crate::{policy, protocol, protocol_number, sa};

/// The maker's number of SAs that were made here ("coat").
pub const OWN_SEQUENCE: u32 = 0x636f_6174;
/// The indexes of policies that were made here; the last three bits are the direction.
pub const OWN_INDEXES: RangeInclusive<u32> = 0xc0a7_0000..=0xcfff_ffff;
/// Those bits.
const DIRECTION_BITS: u32 = 7;

/// `errno`s of the kernel's answers.
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ESRCH: i32 = 3;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EEXIST: i32 = 17;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ENOSYS: i32 = 38;
    pub(super) const EPROTONOSUPPORT: i32 = 93;
    pub(super) const EOPNOTSUPP: i32 = 95;
    pub(super) const ENOBUFS: i32 = 105;
}

/// The sockets.
pub trait Sockets {
    /// Sends a request, and gives the datagrams of its answer, all of them.
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>>;

    /// The next datagram that has come unasked; `None` when there is none. An error says that some got lost.
    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>>;

    /// Named counters of the kernel.
    fn counters(&self) -> Vec<(String, u64)>;

    /// The kernel's number of an interface; `None` when there is none of this name.
    fn interface(&self, name: &str) -> Option<u32>;

    /// The interface of this number.
    fn interface_name(&self, number: u32) -> Option<String>;

    /// Whether packets to this address end here.
    fn is_ours(&self, address: IpAddr) -> bool;
}

/// The kernel behind these sockets.
pub struct Xfrm<S: Sockets> {
    sockets: S,
    next_reqid: u32,
    next_index: u32,
    /// Indexes of ours that policies have.
    indexes: HashSet<u32>,
}

/// What is refused of a request whatever the kernel is; the databases' state does not count.
pub fn refusal_of(request: &Request) -> Option<Refusal> {
    match request {
        Request::Add(new) | Request::Update(new) => sa::message(new).err(),
        Request::SpdAdd(new) | Request::SpdUpdate(new) => policy::message(new).err(),
        _ => None,
    }
}

/// The home behind these sockets, with packets that never leave unless a policy says how; see [`KernelHome::new`].
pub fn home<S: Sockets>(
    sockets: S,
    guarded: Vec<Selector>,
) -> Result<(KernelHome<Xfrm<S>>, Leftovers), Refusal> {
    let kernel = Xfrm {
        sockets,
        next_reqid: ReqId::MANUAL_MAX + 1,
        next_index: *OWN_INDEXES.start(),
        indexes: HashSet::new(),
    };
    KernelHome::new(kernel, guarded)
}

impl<S: Sockets> Xfrm<S> {
    /// Makes an SA and removes it. Should a packet meet it meanwhile: it has come to its limit before the first one.
    fn put_stillborn(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<(), Refusal> {
        let stillborn = stillborn(id, mode, reqid);
        let (mut info, attributes) = sa::message(&stillborn)?;
        info.limits.hard_packets = 0;
        match self.ask(Body::NewSa(info), attributes).map_err(|problem| problem.of_new_sa(&stillborn)) {
            Ok(_) => drop(self.ask(Body::DeleteSa(sa::name(id)), Vec::new())),
            // Somebody's.
            Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }

    /// Asks, and gives what was answered.
    fn ask(
        &mut self,
        body: Body<'_>,
        attributes: Vec<Attribute<'_>>,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, Problem> {
        let request = Zeroizing::new(Message::request(body, attributes).emit());
        let datagrams = self.sockets.ask(&request).map_err(Problem::of_socket)?;
        for message in datagrams.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok) {
            match message.body {
                Body::Error { errno, .. } | Body::Done(errno) if errno == 0 => {}
                Body::Error { errno, text } => {
                    return Err(Problem { errno, text: text.map(str::to_owned) });
                }
                Body::Done(errno) => return Err(Problem { errno, text: None }),
                _ => {}
            }
        }
        Ok(datagrams)
    }

    /// What the kernel is told of the hardware that is to do an SA.
    fn offload(&self, id: &SaId, wanted: &Offload) -> Result<xfrm::Offload, Refusal> {
        let Offload { interface, inbound } = wanted;
        let missing =
            || Refusal::Invalid(format!("there is no interface {interface} whose hardware could do it"));
        let number = self.sockets.interface(interface).ok_or_else(missing)?;
        let mut flags = 0;
        if inbound.unwrap_or_else(|| self.sockets.is_ours(id.destination)) {
            flags |= offload::INBOUND;
        }
        if id.destination.is_ipv6() {
            flags |= offload::IPV6;
        }
        Ok(xfrm::Offload { interface: number, flags })
    }

    /// The SAs in an answer.
    fn of_sas(&self, datagrams: &[Zeroizing<Vec<u8>>], wall: u64) -> Vec<FoundSa> {
        let all = datagrams.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok);
        let found = |message: Message<'_>| {
            let Body::NewSa(info) = message.body else { return None };
            let mut sa = sa::sa_of(&info, &message.attributes, wall);
            let card = message.attributes.iter().find_map(|attribute| match attribute {
                Attribute::Offload(card) => Some(card),
                _ => None,
            });
            if let (Some(sa), Some(card)) = (&mut sa, card) {
                // One that went away meanwhile still has its number.
                let named = self.sockets.interface_name(card.interface);
                sa.offload = Some(Offload {
                    interface: named.unwrap_or_else(|| card.interface.to_string()),
                    inbound: Some(card.flags & offload::INBOUND != 0),
                });
            }
            Some(FoundSa { id: sa::id_of(&info)?, is_own: info.sequence == OWN_SEQUENCE, sa })
        };
        all.filter_map(found).collect()
    }

    /// An index of ours that no policy has: the kernel would choose another one.
    fn free_index(&mut self, direction: u8) -> u32 {
        loop {
            let index = self.next_index | u32::from(direction);
            let next = self.next_index + DIRECTION_BITS + 1;
            self.next_index = if OWN_INDEXES.contains(&next) { next } else { *OWN_INDEXES.start() };
            if self.indexes.insert(index) {
                return index;
            }
        }
    }
}

impl<S: Sockets> Kernel for Xfrm<S> {
    fn abilities(&self) -> Abilities {
        Abilities::LINUX
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        self.put_stillborn(&trial_id(), Mode::Transport, ReqId(0))
    }

    fn sas(&mut self, wall: u64) -> Result<Vec<FoundSa>, Refusal> {
        let datagrams = self.ask(Body::DumpSas, Vec::new()).map_err(Problem::plain)?;
        Ok(self.of_sas(&datagrams, wall))
    }

    fn sa(&mut self, id: &SaId, wall: u64) -> Result<Sa, Refusal> {
        let answer = self.ask(Body::GetSa(sa::name(id)), Vec::new()).map_err(Problem::of_sa)?;
        self.of_sas(&answer, wall).into_iter().find_map(|found| found.sa).ok_or(Refusal::NoSa)
    }

    fn policies(&mut self) -> Result<Vec<FoundPolicy>, Refusal> {
        let datagrams = self.ask(Body::DumpPolicies, Vec::new()).map_err(Problem::plain)?;
        let mut list = Vec::new();
        for message in datagrams.iter().flat_map(|datagram| messages(datagram)).map_while(Result::ok) {
            // All but those of single sockets.
            if let Body::NewPolicy(info) = message.body
                && info.direction <= xfrm::direction::FORWARD
            {
                let about = policy::direction_of(info.direction).zip(policy::selector_of(&info.selector));
                let found = FoundPolicy {
                    id: PolicyId(info.index),
                    about,
                    is_own: OWN_INDEXES.contains(&info.index),
                    policy: policy::policy_of(&info, &message.attributes),
                };
                list.push((info.priority, found));
            }
        }
        // The kernel tells the newest first, and looks at the oldest first where the priority is the same.
        list.reverse();
        list.sort_by_key(|(priority, _)| *priority);
        self.indexes = list.iter().filter(|(_, found)| found.is_own).map(|(_, found)| found.id.0).collect();
        Ok(list.into_iter().map(|(_, found)| found).collect())
    }

    fn put_sa(&mut self, new: &Sa, replaces: bool) -> Result<(), Refusal> {
        let (mut info, mut attributes) = sa::message(new)?;
        info.sequence = OWN_SEQUENCE;
        if let Some(wanted) = &new.offload {
            attributes.push(Attribute::Offload(self.offload(&new.id, wanted)?));
        }
        let body = if replaces { Body::UpdateSa(info) } else { Body::NewSa(info) };
        self.ask(body, attributes).map(drop).map_err(|problem| problem.of_new_sa(new))
    }

    fn delete_sa(&mut self, id: &SaId) -> Result<(), Refusal> {
        self.ask(Body::DeleteSa(sa::name(id)), Vec::new()).map(drop).map_err(Problem::of_sa)
    }

    fn flush_sas(&mut self, proto: Option<SaProto>) -> Result<(), Refusal> {
        let number = proto.map_or(0, protocol_number);
        self.ask(Body::FlushSas(number), Vec::new()).map(drop).map_err(Problem::plain)
    }

    fn get_spi(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<Spi, Refusal> {
        let (first, last) = spi_range(id);
        let range = SpiRange { info: sa::larval(id, mode, reqid), first, last };
        let answer = self.ask(Body::AllocateSpi(range), Vec::new()).map_err(Problem::plain)?;
        let made = self.of_sas(&answer, 0).into_iter().next();
        made.map(|made| made.id.spi).ok_or_else(|| Refusal::NoRoom("the kernel has no SPI left".into()))
    }

    /// An SA that takes its place can be removed.
    fn end_awaited(&mut self, awaited: &Sa) {
        let id = SaId { spi: Spi(Spi::FIRST), ..awaited.id };
        let _ = self.put_stillborn(&id, awaited.mode, awaited.reqid);
    }

    fn free_reqid(&mut self, used: &BTreeSet<ReqId>) -> Result<ReqId, Refusal> {
        let first = ReqId::MANUAL_MAX + 1;
        let mut all = (self.next_reqid..=u32::MAX).chain(first..self.next_reqid);
        let free = all.find(|number| !used.contains(&ReqId(*number)));
        let free = free.ok_or_else(|| Refusal::NoRoom("all numbers of `unique` are in use".into()))?;
        self.next_reqid = free.checked_add(1).unwrap_or(first);
        Ok(ReqId(free))
    }

    fn put_policy(&mut self, new: &Policy, replaces: bool) -> Result<(), Refusal> {
        let (mut info, attributes) = policy::message(new)?;
        info.index = self.free_index(info.direction);
        let body = if replaces { Body::UpdatePolicy(info) } else { Body::NewPolicy(info) };
        self.ask(body, attributes).map(drop).map_err(Problem::of_policy)
    }

    fn delete_policy(&mut self, selector: &Selector, direction: Direction) -> Result<(), Refusal> {
        let selector = policy::selector(selector);
        let direction = policy::direction_number(direction);
        let id = xfrm::PolicyId { selector, index: 0, direction };
        self.ask(Body::DeletePolicy(id), Vec::new()).map(drop).map_err(Problem::of_policy)
    }

    fn delete_numbered(&mut self, PolicyId(index): PolicyId) -> Result<(), Refusal> {
        let direction = u8::try_from(index & DIRECTION_BITS).unwrap_or(0);
        let id = xfrm::PolicyId { index, direction, ..xfrm::PolicyId::default() };
        self.ask(Body::DeletePolicy(id), Vec::new()).map(drop).map_err(Problem::of_policy)
    }

    fn hear(&mut self, wall: u64) -> io::Result<Option<Vec<Event>>> {
        let Some(datagram) = self.sockets.hear()? else { return Ok(None) };
        Ok(Some(messages(&datagram).map_while(Result::ok).filter_map(|told| event(&told, wall)).collect()))
    }

    fn counters(&self) -> Vec<(String, u64)> {
        self.sockets.counters()
    }
}

/// What a message says that nobody has asked for.
fn event(message: &Message<'_>, wall: u64) -> Option<Event> {
    Some(match &message.body {
        Body::NewSa(info) | Body::UpdateSa(info) => Event::Sa {
            id: sa::id_of(info)?,
            mode: sa::mode_of(info.mode)?,
            reqid: ReqId(info.reqid),
            is_own: info.sequence == OWN_SEQUENCE,
        },
        Body::DeleteSa(gone) => {
            Event::SaGone(gone.destination.ip(gone.family)?, protocol(gone.proto)?, Spi(gone.spi))
        }
        Body::FlushSas(number) => Event::SasFlushed(protocol(*number)),
        Body::Expire(xfrm::Expire { info, hard }) => {
            Event::Expired { id: sa::id_of(info)?, hard: *hard != 0, current: sa::used(info, wall) }
        }
        Body::Mapping(xfrm::Mapping { id, new_source, new_port, .. }) => Event::Moved {
            destination: Some(id.destination.ip(id.family)?),
            proto: protocol(id.proto)?,
            spi: Spi(id.spi),
            source: new_source.ip(id.family)?,
            port: *new_port,
        },
        Body::Acquire(acquire) => {
            let family = acquire.packet.family;
            Event::Wanted {
                ends: (acquire.source.ip(family)?, acquire.id.destination.ip(family)?),
                proto: protocol(acquire.id.proto)?,
                policy: Some(PolicyId(acquire.policy.index)),
            }
        }
        Body::NewPolicy(info) | Body::UpdatePolicy(info) => {
            Event::Policy(policy::policy_of(info, &message.attributes))
        }
        Body::DeletePolicy(_) | Body::FlushPolicies => Event::PoliciesGone,
        _ => return None,
    })
}

/// Why the kernel did not do it.
struct Problem {
    errno: i32,
    text: Option<String>,
}

impl Problem {
    fn of_socket(error: io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(0), text: Some(format!("netlink: {error}")) }
    }

    /// What the kernel itself says, or what its number means.
    fn sentence(&self) -> String {
        match (self.errno, &self.text) {
            (errno::EPERM, _) => {
                "the kernel does not let us: CAP_NET_ADMIN is needed (run it as root)".into()
            }
            (_, Some(text)) => format!("the kernel says: {text}"),
            (errno::EINVAL, None) => "the kernel finds something wrong with it (EINVAL)".into(),
            (errno, None) => format!("the kernel says: {}", io::Error::from_raw_os_error(errno)),
        }
    }

    fn plain(self) -> Refusal {
        match self.errno {
            errno::ENOBUFS | errno::ENOMEM => Refusal::NoRoom(self.sentence()),
            _ => Refusal::Invalid(self.sentence()),
        }
    }

    fn of_sa(self) -> Refusal {
        match self.errno {
            errno::ESRCH | errno::ENOENT => Refusal::NoSa,
            _ => self.plain(),
        }
    }

    fn of_policy(self) -> Refusal {
        match self.errno {
            errno::ENOENT => Refusal::NoPolicy,
            errno::EEXIST => Refusal::Exists,
            _ => self.plain(),
        }
    }

    /// What stood in the way of this SA: mostly a module.
    fn of_new_sa(self, new: &Sa) -> Refusal {
        match self.errno {
            errno::EEXIST => Refusal::Exists,
            errno::ESRCH => Refusal::NoSa,
            errno::EOPNOTSUPP | errno::EINVAL if new.offload.is_some() => {
                let interface = new.offload.as_ref().map_or("", |offload| &offload.interface);
                let why = self.sentence();
                let module = if new.id.destination.is_ipv4() { "esp4_offload" } else { "esp6_offload" };
                let text = format!("its module {module} may be missing; without -hwif it does it itself");
                Refusal::Unsupported(format!("not with the hardware of {interface}: {why} ({text})"))
            }
            errno::EPROTONOSUPPORT => {
                let version = if new.id.destination.is_ipv4() { "4" } else { "6" };
                let module = match new.id.proto {
                    SaProto::Esp => format!("esp{version}"),
                    SaProto::Ah => format!("ah{version}"),
                    SaProto::Ipcomp => format!("ipcomp{}", if version == "4" { "" } else { "6" }),
                };
                let name = new.id.proto.setkey_name();
                Refusal::Unsupported(format!("the kernel has no {name}: load its module {module}"))
            }
            errno::ENOENT | errno::ENOSYS => {
                let list = match new.id.proto {
                    SaProto::Ipcomp => format!("deflate, {ALWAYS}"),
                    _ => modules(new),
                };
                let (enc, auth) = (new.enc.setkey_name(), new.auth.setkey_name());
                Refusal::Unsupported(format!(
                    "the kernel lacks something for {enc} with {auth}: load those of its modules that are not: {list}"
                ))
            }
            _ => self.plain(),
        }
    }
}
