//! The kernel, asked and heard over PF_KEY.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use coati_kernel::{
    Abilities, Event, FoundPolicy, FoundSa, Kernel, KernelHome, Leftovers, spi_range, stillborn, trial_id,
};
use coati_sadb::{
    Direction, Mode, Policy, PolicyId, Priority, Refusal, ReqId, Request, Sa, SaId, SaProto, Selector, Spi,
};
use coati_wire::pfkey::{Header, Layout, Message, message};
use zeroize::Zeroizing;

use crate::{policy, sa};

/// The sockets: one that asks, and one that hears what nobody has asked for.
pub trait Sockets {
    /// Sends a request. What the asking socket has heard before that is forgotten.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// What the asking socket hears next, one message; it waits, but not for ever.
    fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>>;

    /// Sends a message (SADB_REGISTER) from the other socket, so that the kernel speaks to that.
    fn register(&mut self, message: &[u8]) -> io::Result<()>;

    /// The next message that has come unasked; `None` when there is none. An error says that some got lost.
    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>>;

    /// Named counters of the kernel.
    fn counters(&self) -> Vec<(String, u64)>;
}

/// Algorithms that the kernel has said it has: of integrity, and ciphers.
type Supported = BTreeMap<SaProto, (Vec<u8>, Vec<u8>)>;

/// The kernel behind these sockets.
pub struct PfKey<S: Sockets> {
    sockets: S,
    layout: Layout,
    sequence: u32,
    supported: Supported,
    /// What was said unasked while something else was looked for.
    heard: VecDeque<Zeroizing<Vec<u8>>>,
}

/// What is refused of a request whatever the kernel's state is.
pub fn refusal_of(layout: Layout, request: &Request) -> Option<Refusal> {
    match request {
        Request::Add(new) | Request::Update(new) => sa::message(layout, message::ADD, new).err(),
        Request::SpdAdd(new) | Request::SpdUpdate(new) => policy::message(layout, message::SPDADD, new).err(),
        _ => None,
    }
}

/// What is carried out, but not quite as it was asked for.
pub fn remark_of(layout: Layout, request: &Request) -> Option<String> {
    let (Request::Add(new) | Request::Update(new)) = request else { return None };
    if new.offload.is_some() && layout != Layout::FreeBsd {
        return Some("over PF_KEY this kernel gives nothing to hardware: it does it itself".to_owned());
    }
    let largest = sa::largest_window(layout).filter(|largest| new.replay_window > *largest)?;
    Some(format!(
        "a replay window of {} packets becomes one of {largest}: over PF_KEY this kernel has no larger one",
        new.replay_window
    ))
}

/// The home behind these sockets, with packets that never leave unless a policy says how; see [`KernelHome::new`].
pub fn home<S: Sockets>(
    sockets: S,
    layout: Layout,
    guarded: Vec<Selector>,
) -> Result<(KernelHome<PfKey<S>>, Leftovers), Refusal> {
    let (supported, heard) = (Supported::new(), VecDeque::new());
    KernelHome::new(PfKey { sockets, layout, sequence: 0, supported, heard }, guarded)
}

impl<S: Sockets> PfKey<S> {
    /// A message with the next number.
    fn numbered(&mut self) -> Message<'static> {
        // 0 is the number of what was not asked for, and of the last message of a dump.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        Message { sequence: self.sequence, pid: std::process::id(), ..Message::default() }
    }

    /// Asks, and gives the messages that answer.
    fn ask(&mut self, request: Message<'_>) -> Result<Vec<Zeroizing<Vec<u8>>>, Problem> {
        let Message { sequence, pid, .. } = self.numbered();
        let kind = request.kind;
        let request = Zeroizing::new(Message { sequence, pid, ..request }.emit(self.layout));
        let is_dump = matches!(kind, message::DUMP | message::SPDDUMP);
        self.sockets.send(&request).map_err(|error| Problem::of_socket(&error))?;
        let mut answers = Vec::new();
        loop {
            let answer = match self.sockets.receive() {
                Ok(answer) => answer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Problem::of_socket(&error)),
            };
            // What others have asked for is said to every socket.
            let Ok((header, ..)) = Header::parse(&answer) else { continue };
            let is_ours = (header.kind, header.pid) == (kind, pid);
            match header.errno {
                _ if !is_ours => {}
                0 if is_dump => {
                    answers.push(answer);
                    if header.sequence == 0 {
                        return Ok(answers);
                    }
                }
                // Nothing is there.
                errno if is_dump && i32::from(errno) == errno::ENOENT => return Ok(answers),
                _ if !is_dump && header.sequence != sequence => {}
                0 => return Ok(vec![answer]),
                errno => return Err(Problem { errno: errno.into(), text: None }),
            }
        }
    }

    /// The next message that has come unasked, but for what it says of its algorithms.
    fn listen(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        while let Some(message) = self.sockets.hear()? {
            match Message::parse(self.layout, &message) {
                Ok((told, _)) if told.kind == message::REGISTER => self.learn_supported(&told),
                _ => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    fn learn_supported(&mut self, told: &Message<'_>) {
        if let Some(proto) = sa::proto_of(told.sa_type)
            && told.errno == 0
        {
            let lists = (told.supported_auth.clone(), told.supported_encrypt.clone());
            self.supported.insert(proto, lists);
        }
    }

    /// What a message says that nobody has asked for.
    fn event(&self, told: &Message<'_>, wall: u64) -> Option<Event> {
        const DEAD: u8 = 3;
        if told.errno != 0 {
            return None;
        }
        Some(match told.kind {
            message::ADD | message::UPDATE => Event::Sa {
                id: sa::id_of(told)?,
                mode: sa::mode_of(told)?,
                reqid: sa::reqid_of(told),
                is_own: sa::is_own(told),
            },
            message::DELETE => match sa::id_of(told) {
                Some(id) => Event::SaGone(id.destination, id.proto, id.spi),
                // All between two hosts.
                None => Event::SasGone,
            },
            message::FLUSH => Event::SasFlushed(sa::proto_of(told.sa_type)),
            message::EXPIRE => Event::Expired {
                id: sa::id_of(told)?,
                // RFC 2367 section 3.1.8: the limit that is in it is the one that is over. Not all do.
                hard: told.hard.is_some() || told.sa.is_some_and(|sa| sa.state == DEAD),
                current: sa::used(told, wall),
            },
            // Source and destination are the peer's address before and now; the SA's own destination is not said.
            message::NEW_MAPPING if told.source?.address == told.destination?.address => Event::Moved {
                destination: None,
                proto: sa::proto_of(told.sa_type)?,
                spi: Spi(told.sa?.spi),
                source: told.source?.address,
                port: told.nat_t?.destination_port,
            },
            message::ACQUIRE => Event::Wanted {
                ends: (told.source?.address, told.destination?.address),
                proto: sa::proto_of(told.sa_type)?,
                policy: told.policy.as_ref().map(|policy| PolicyId(policy.id)),
            },
            message::SPDADD | message::SPDUPDATE => Event::Policy(policy::policy_of(told)),
            message::SPDDELETE | message::SPDDELETE2 | message::SPDFLUSH | message::SPDEXPIRE => {
                Event::PoliciesGone
            }
            _ => return None,
        })
    }
}

impl<S: Sockets> Kernel for PfKey<S> {
    fn abilities(&self) -> Abilities {
        match self.layout {
            Layout::Linux => Abilities::LINUX,
            Layout::FreeBsd | Layout::NetBsd => Abilities::BSD,
        }
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let layout = self.layout;
        for proto in [SaProto::Esp, SaProto::Ah, SaProto::Ipcomp] {
            let kind = message::REGISTER;
            let asked = Message { kind, sa_type: sa::type_number(proto), ..self.numbered() }.emit(layout);
            self.sockets.register(&asked).map_err(|error| Problem::of_socket(&error).plain(layout))?;
        }
        match self.put_sa(&stillborn(&trial_id(), Mode::Transport, ReqId(0)), false) {
            Ok(()) => drop(self.delete_sa(&trial_id())),
            // Somebody's.
            Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal),
        }
        Ok(())
    }

    fn sas(&mut self, _wall: u64) -> Result<Vec<FoundSa>, Refusal> {
        let layout = self.layout;
        let asked = Message { kind: message::DUMP, ..Message::default() };
        let answers = self.ask(asked).map_err(|problem| problem.plain(layout))?;
        let all = answers.iter().filter_map(|answer| Message::parse(layout, answer).ok());
        let found = |(told, _): (Message<'_>, _)| {
            Some(FoundSa { id: sa::id_of(&told)?, is_own: sa::is_own(&told), sa: sa::sa_of(layout, &told) })
        };
        Ok(all.filter_map(found).collect())
    }

    fn sa(&mut self, id: &SaId, _wall: u64) -> Result<Sa, Refusal> {
        let layout = self.layout;
        let answers = self.ask(sa::named(message::GET, id)).map_err(|problem| problem.of_sa(layout))?;
        let found = answers.first().and_then(|answer| Message::parse(layout, answer).ok());
        found.and_then(|(found, _)| sa::sa_of(layout, &found)).ok_or(Refusal::NoSa)
    }

    fn policies(&mut self) -> Result<Vec<FoundPolicy>, Refusal> {
        let layout = self.layout;
        let asked = Message { kind: message::SPDDUMP, ..Message::default() };
        let answers = self.ask(asked).map_err(|problem| problem.plain(layout))?;
        let all = answers.iter().filter_map(|answer| Message::parse(layout, answer).ok());
        let mut list: Vec<(Priority, FoundPolicy)> = all
            .filter(|(found, _)| policy::is_global(found))
            .map(|(found, _)| {
                let numbers = found.policy.as_ref();
                let (id, priority) = numbers.map_or((0, 0), |numbers| (numbers.id, numbers.priority));
                let (is_own, policy) = (policy::is_own(&found), policy::policy_of(&found));
                let about = policy.as_ref().map(|policy| (policy.direction, policy.selector));
                (Priority(priority), FoundPolicy { id: PolicyId(id), about, is_own, policy })
            })
            .collect();
        // Linux tells the newest first, and looks at the oldest first where the priority is the same.
        if layout == Layout::Linux {
            list.reverse();
        }
        list.sort_by_key(|(priority, _)| *priority);
        Ok(list.into_iter().map(|(_, found)| found).collect())
    }

    fn put_sa(&mut self, new: &Sa, replaces: bool) -> Result<(), Refusal> {
        let layout = self.layout;
        let kind = if replaces { message::UPDATE } else { message::ADD };
        self.ask(sa::message(layout, kind, new)?).map(drop).map_err(|problem| {
            // What it said about its algorithms may still wait.
            while let Ok(Some(told)) = self.listen() {
                self.heard.push_back(told);
            }
            problem.of_new_sa(layout, new, self.supported.get(&new.id.proto))
        })
    }

    fn delete_sa(&mut self, id: &SaId) -> Result<(), Refusal> {
        let layout = self.layout;
        self.ask(sa::named(message::DELETE, id)).map(drop).map_err(|problem| problem.of_sa(layout))
    }

    fn flush_sas(&mut self, proto: Option<SaProto>) -> Result<(), Refusal> {
        let sa_type = proto.map_or(0, sa::type_number);
        match self.ask(Message { kind: message::FLUSH, sa_type, ..Message::default() }) {
            // Linux says so when there was nothing.
            Err(Problem { errno: errno::ESRCH, .. }) | Ok(_) => Ok(()),
            Err(problem) => Err(problem.plain(self.layout)),
        }
    }

    fn get_spi(&mut self, id: &SaId, mode: Mode, reqid: ReqId) -> Result<Spi, Refusal> {
        let layout = self.layout;
        let spi_range = Some(spi_range(id));
        let asked = Message { spi_range, ..sa::larval(message::GETSPI, id, mode, reqid) };
        let answers = self.ask(asked).map_err(|problem| problem.plain(layout))?;
        let found = answers.first().and_then(|answer| Message::parse(layout, answer).ok());
        let spi = found.and_then(|(found, _)| found.sa).map(|sa| Spi(sa.spi));
        spi.ok_or_else(|| Refusal::NoRoom("the kernel has no SPI left".into()))
    }

    /// SADB_GETSPI gives it one.
    fn end_awaited(&mut self, awaited: &Sa) {
        if let Ok(spi) = self.get_spi(&awaited.id, awaited.mode, awaited.reqid) {
            let _ = self.delete_sa(&SaId { spi, ..awaited.id });
        }
    }

    /// The kernel would take one beyond [`ReqId::MANUAL_MAX`], and another one each time the policy is put.
    fn free_reqid(&mut self, used: &BTreeSet<ReqId>) -> Result<ReqId, Refusal> {
        let free = (1..=ReqId::MANUAL_MAX).rev().map(ReqId).find(|reqid| !used.contains(reqid));
        free.ok_or_else(|| Refusal::NoRoom("all numbers of `unique` are in use".into()))
    }

    fn put_policy(&mut self, new: &Policy, replaces: bool) -> Result<(), Refusal> {
        let layout = self.layout;
        let kind = if replaces { message::SPDUPDATE } else { message::SPDADD };
        let asked = policy::message(layout, kind, new)?;
        self.ask(asked).map(drop).map_err(|problem| problem.of_policy(layout))
    }

    fn delete_policy(&mut self, selector: &Selector, direction: Direction) -> Result<(), Refusal> {
        let layout = self.layout;
        let asked = policy::about(message::SPDDELETE, selector, direction);
        self.ask(asked).map(drop).map_err(|problem| problem.of_policy(layout))
    }

    fn delete_numbered(&mut self, id: PolicyId) -> Result<(), Refusal> {
        let layout = self.layout;
        let asked = policy::numbered(message::SPDDELETE2, id);
        self.ask(asked).map(drop).map_err(|problem| problem.of_policy(layout))
    }

    fn hear(&mut self, wall: u64) -> io::Result<Option<Vec<Event>>> {
        let told = match self.heard.pop_front() {
            Some(told) => told,
            None => match self.listen()? {
                Some(told) => told,
                None => return Ok(None),
            },
        };
        let told = Message::parse(self.layout, &told).ok();
        Ok(Some(told.and_then(|(told, _)| self.event(&told, wall)).into_iter().collect()))
    }

    fn counters(&self) -> Vec<(String, u64)> {
        self.sockets.counters()
    }
}

/// `errno`s of a kernel's answers that are the same everywhere.
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ESRCH: i32 = 3;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EEXIST: i32 = 17;
    pub(super) const EINVAL: i32 = 22;
}

/// Those that are not: ENOBUFS, EPROTONOSUPPORT, ENOSYS.
fn own_errnos(layout: Layout) -> (i32, i32, i32) {
    match layout {
        Layout::Linux => (105, 93, 38),
        Layout::FreeBsd | Layout::NetBsd => (55, 43, 78),
    }
}

/// Why the kernel did not do it.
struct Problem {
    errno: i32,
    text: Option<String>,
}

impl Problem {
    fn of_socket(error: &io::Error) -> Self {
        let text = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                "PF_KEY: the kernel does not answer".into()
            }
            _ => format!("PF_KEY: {error}"),
        };
        Self { errno: error.raw_os_error().unwrap_or(0), text: Some(text) }
    }

    fn sentence(&self) -> String {
        match (self.errno, &self.text) {
            (errno::EPERM, _) => "the kernel does not let us: run it as root".into(),
            (_, Some(text)) => text.clone(),
            (errno::EINVAL, None) => "the kernel finds something wrong with it (EINVAL)".into(),
            (errno, None) => format!("the kernel says: {}", io::Error::from_raw_os_error(errno)),
        }
    }

    fn plain(self, layout: Layout) -> Refusal {
        let (no_buffers, ..) = own_errnos(layout);
        match self.errno {
            errno if errno == no_buffers || errno == errno::ENOMEM => Refusal::NoRoom(self.sentence()),
            _ => Refusal::Invalid(self.sentence()),
        }
    }

    fn of_sa(self, layout: Layout) -> Refusal {
        match self.errno {
            errno::ESRCH | errno::ENOENT => Refusal::NoSa,
            _ => self.plain(layout),
        }
    }

    fn of_policy(self, layout: Layout) -> Refusal {
        match self.errno {
            errno::ENOENT | errno::ESRCH => Refusal::NoPolicy,
            errno::EEXIST => Refusal::Exists,
            _ => self.plain(layout),
        }
    }

    /// What stood in the way of this SA: mostly a module.
    fn of_new_sa(self, layout: Layout, new: &Sa, supported: Option<&(Vec<u8>, Vec<u8>)>) -> Refusal {
        let name = new.id.proto.setkey_name();
        let (_, no_protocol, no_algorithm) = own_errnos(layout);
        let lacks = |list: &[u8], number: u8| number != 0 && !list.contains(&number);
        let numbers = sa::message(layout, message::ADD, new).ok().and_then(|message| message.sa);
        let missing = supported.zip(numbers).and_then(|((auth, encrypt), numbers)| {
            let cipher = lacks(encrypt, numbers.encrypt).then(|| new.enc.setkey_name());
            cipher.or_else(|| lacks(auth, numbers.auth).then(|| new.auth.setkey_name()))
        });
        match (self.errno, missing, layout) {
            (errno::EEXIST, ..) => Refusal::Exists,
            (errno::ESRCH, ..) => Refusal::NoSa,
            (errno::EINVAL, _, Layout::FreeBsd) if new.offload.is_some() => {
                let interface = new.offload.as_ref().map_or("", |offload| &offload.interface);
                let text = "leave -hwif out; FreeBSD knows it from version 15 on";
                Refusal::Unsupported(format!(
                    "not with the hardware of {interface} ({text}): {}",
                    self.sentence()
                ))
            }
            (errno, _, Layout::Linux) if errno == no_protocol => {
                let version = if new.id.destination.is_ipv4() { "4" } else { "6" };
                let module = match (new.id.proto, version) {
                    (SaProto::Ipcomp, "4") => "ipcomp".to_owned(),
                    _ => format!("{name}{version}"),
                };
                Refusal::Unsupported(format!("the kernel has no {name}: load its module {module}"))
            }
            (errno, ..) if errno == no_protocol => Refusal::Unsupported(format!(
                "the kernel has no {name}: load its module ipsec (kldload ipsec)"
            )),
            (_, Some(algorithm), _) => {
                Refusal::Unsupported(format!("the kernel has no {algorithm}: load the module that has it"))
            }
            (errno, None, Layout::Linux) if errno == no_algorithm || errno == errno::ENOENT => {
                let (enc, auth) = (new.enc.setkey_name(), new.auth.setkey_name());
                Refusal::Unsupported(format!(
                    "the kernel lacks something for {enc} with {auth}: load those of its modules that are not: \
                     authenc, echainiv, drbg, jitterentropy_rng"
                ))
            }
            _ => self.plain(layout),
        }
    }
}
