//! The binary protocol of racoonctl, answered by the same requests that the JSON lines make.

use std::net::{IpAddr, SocketAddr};

use coati_router::admin::{
    AdminReply, AdminRequest, Cause, Establish, EventKind, EventStatus, IsakmpStatus, Login, Status,
    TimerStatus,
};
use coati_sadb::{Port, Prefix, Reply, Request, Sa, SaProto, Secret, Selector, Upper};
use coati_wire::adminport::{self, Abi, Errno, Indexes, Malformed, Proto, reply};
use coati_wire::pfkey;

use super::Whose;
use crate::pfkey::{SA_TYPES, number, sa_repr};

/// What a client gets.
#[derive(Debug)]
pub(super) struct Answer {
    /// At once.
    pub(super) bytes: Vec<u8>,
    /// Later.
    pub(super) events: Option<Whose>,
    /// What is wrong with the request, for the log.
    pub(super) remark: Option<String>,
}

impl Answer {
    fn at_once(bytes: Vec<u8>) -> Self {
        Self { bytes, events: None, remark: None }
    }
}

/// ENOENT, in a PF_KEY message: there are no SAs.
const NO_ENTRY: u8 = 2;

/// Answers a request, which `bytes` are all of.
pub(super) fn answer(bytes: &[u8], answer: &mut impl FnMut(AdminRequest) -> AdminReply) -> Answer {
    let (request, command, code) = match adminport::Request::parse(bytes, Abi::HOST) {
        Ok(parsed) => parsed,
        Err(malformed) => return refuse(malformed),
    };
    let data = |contents: Vec<u8>| Answer::at_once(reply::data(command, code, &contents));
    let result = match request {
        adminport::Request::Reload => plain(answer(AdminRequest::Reload)),
        adminport::Request::Events(pushed) => Ok(pushed.then_some(Whose::Everybody)),
        adminport::Request::Schedule => match answer(AdminRequest::Schedule) {
            AdminReply::Schedule(list) => return data(list.iter().flat_map(timer).collect()),
            other => plain(other),
        },
        adminport::Request::ShowSa(Proto::Isakmp) => match answer(AdminRequest::Isakmp) {
            AdminReply::Isakmp(list) => return data(list.iter().filter_map(isakmp).flatten().collect()),
            other => plain(other),
        },
        adminport::Request::ShowSa(proto) => {
            match answer(AdminRequest::Sadb(Request::Dump(sa_proto(proto)))) {
                AdminReply::Sadb(Reply::Sas { sas }) => return data(dump(&sas, sa_proto(proto))),
                other => plain(other),
            }
        }
        adminport::Request::FlushSa(Proto::Isakmp) => plain(answer(AdminRequest::FlushIsakmp)),
        adminport::Request::FlushSa(proto) => {
            plain(answer(AdminRequest::Sadb(Request::Flush(sa_proto(proto)))))
        }
        adminport::Request::Status { json, .. } => match answer(AdminRequest::Status) {
            AdminReply::Status(status) => return data(status_text(&status, json)),
            other => plain(other),
        },
        adminport::Request::DeleteSa(proto, indexes) => plain(answer(match sa_proto(proto) {
            None => AdminRequest::DeleteIsakmp { local: indexes.source, remote: indexes.destination },
            Some(proto) => AdminRequest::DeletePair { proto, selector: selector(&indexes) },
        })),
        adminport::Request::DeleteAll(indexes) => {
            let peer = indexes.destination.ip();
            plain(answer(AdminRequest::Disconnect(peer))).map(|_| Some(Whose::Peer(peer)))
        }
        adminport::Request::LogoutUser(name) => plain(answer(AdminRequest::LogoutUser(name))),
        adminport::Request::Certificate(indexes) => {
            let (local, remote) = (indexes.source, indexes.destination);
            match answer(AdminRequest::Certificate { local, remote }) {
                AdminReply::Certificate(bytes) => return data(bytes),
                other => plain(other),
            }
        }
        adminport::Request::Establish { proto, indexes, name, login } => {
            let peer = indexes.destination.ip();
            let what = match sa_proto(proto) {
                _ if proto == Proto::Ipsec => {
                    return Answer::at_once(reply::done(command, code, Err(Errno::NotSupported), Abi::HOST));
                }
                Some(proto) => Establish::Pair { proto, selector: selector(&indexes) },
                None => Establish::Isakmp {
                    local: indexes.source.ip(),
                    remote: peer,
                    name,
                    login: login
                        .map(|login| Login { name: login.name, password: Secret::new(login.password) }),
                },
            };
            plain(answer(AdminRequest::Establish(what))).map(|_| Some(Whose::Peer(peer)))
        }
    };
    let (result, events) = match result {
        Ok(events) => (Ok(()), events),
        Err(errno) => (Err(errno), None),
    };
    Answer { events, ..Answer::at_once(reply::done(command, code, result, Abi::HOST)) }
}

/// Answers what is no request.
pub(super) fn refuse(malformed: Malformed) -> Answer {
    let bytes = reply::done(malformed.command, malformed.proto, Err(malformed.errno), Abi::HOST);
    let remark = format!("admin socket: request {:#06x} is refused: {}", malformed.command, malformed.what);
    Answer { remark: Some(remark), ..Answer::at_once(bytes) }
}

/// A message that tells an event.
pub(super) fn event(event: &EventStatus) -> Vec<u8> {
    let mut attributes = Vec::new();
    if event.kind == EventKind::Phase1ModeCfg {
        // INTERNAL_IP4_ADDRESS and the banner of Cisco's UNITY draft, as mode configuration has them.
        if let Some(IpAddr::V4(address)) = event.address {
            attributes.extend_from_slice(&[0, 1, 0, 4]);
            attributes.extend_from_slice(&address.octets());
        }
        if let Some(banner) = &event.banner
            && let Ok(length) = u16::try_from(banner.len())
        {
            attributes.extend_from_slice(&28_672u16.to_be_bytes());
            attributes.extend_from_slice(&length.to_be_bytes());
            attributes.extend_from_slice(banner.as_bytes());
        }
    }
    reply::Event {
        kind: event.kind.number(),
        at: event.at,
        source: event.local,
        destination: event.remote,
        message_id: 0,
        attributes,
    }
    .emit(Abi::HOST)
}

/// The outcome of a request that has none but success or failure.
fn plain(reply: AdminReply) -> Result<Option<Whose>, Errno> {
    let errno = match reply {
        AdminReply::Error(_) => Errno::Invalid,
        AdminReply::Sadb(Reply::Refused { .. }) => Errno::NoEntry,
        AdminReply::Refused(refused) => match refused.cause {
            Cause::Exists => Errno::Exists,
            Cause::NotFound => Errno::NoEntry,
            Cause::Unsupported => Errno::NotSupported,
            Cause::Invalid => Errno::Invalid,
            Cause::Failed => Errno::NotPermitted,
        },
        _ => return Ok(None),
    };
    Err(errno)
}

/// The protocol of SAs; `None` is all of them, or ISAKMP.
fn sa_proto(proto: Proto) -> Option<SaProto> {
    match proto {
        Proto::Isakmp | Proto::Ipsec => None,
        Proto::Ah => Some(SaProto::Ah),
        Proto::Esp => Some(SaProto::Esp),
    }
}

fn selector(indexes: &Indexes) -> Selector {
    let port = |address: SocketAddr| if address.port() == 0 { Port::Any } else { Port::Is(address.port()) };
    Selector {
        source: Prefix { address: indexes.source.ip(), length: indexes.source_prefix },
        source_port: port(indexes.source),
        destination: Prefix { address: indexes.destination.ip(), length: indexes.destination_prefix },
        destination_port: port(indexes.destination),
        upper: match indexes.upper {
            0 | 255 => Upper::Any,
            number => Upper::Proto(number),
        },
    }
}

fn isakmp(sa: &IsakmpStatus) -> Option<Vec<u8>> {
    let cookie = |text: &str| u64::from_str_radix(text, 16).ok().map(u64::to_be_bytes);
    let sa = reply::IsakmpSa {
        initiator_cookie: cookie(&sa.initiator_cookie)?,
        responder_cookie: cookie(&sa.responder_cookie)?,
        state: sa.state,
        initiator: sa.initiator,
        remote: sa.remote,
        local: sa.local,
        version: sa.version,
        exchange: sa.exchange,
        created: sa.created,
        phase2: u32::try_from(sa.phase2).unwrap_or(u32::MAX),
    };
    Some(sa.emit(Abi::HOST))
}

fn timer(timer: &TimerStatus) -> Vec<u8> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    reply::Timer {
        fires: number(timer.fires),
        id: number(timer.id),
        created: number(timer.created),
        tick: number(timer.tick),
    }
    .emit()
}

fn status_text(status: &Status, json: bool) -> Vec<u8> {
    let mut text = if json {
        serde_json::to_string_pretty(status).unwrap_or_default() + "\n"
    } else {
        crate::status::text(status)
    };
    // Clients print it as a C string.
    text.push('\0');
    text.into_bytes()
}

/// PF_KEY messages of a dump, one after the other; their sequence numbers count down to 0.
fn dump(sas: &[Sa], proto: Option<SaProto>) -> Vec<u8> {
    let pid = std::process::id();
    if sas.is_empty() {
        let kind = proto.map_or(pfkey::sa_type::UNSPEC, |proto| number(&SA_TYPES, &proto));
        return pfkey::Header::emit_alone(pfkey::message::DUMP, NO_ENTRY, kind, pid).to_vec();
    }
    let last = sas.len() - 1;
    let left = |index: usize| u32::try_from(last - index).unwrap_or(u32::MAX);
    sas.iter().enumerate().flat_map(|(index, sa)| sa_repr(sa, left(index), pid).emit()).collect()
}
