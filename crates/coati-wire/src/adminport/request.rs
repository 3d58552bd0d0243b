//! What a client asks.

use std::fmt;
use std::net::SocketAddr;

use super::{Abi, Errno, FLAG, HEADER_LEN, STORAGE_LEN, command, emit_address, parse_address};

/// What the SAs of a request are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// IKE.
    Isakmp,
    /// ESP and AH.
    Ipsec,
    /// Authentication header.
    Ah,
    /// Encapsulating security payload.
    Esp,
}

impl Proto {
    const ALL: [Self; 4] = [Self::Isakmp, Self::Ipsec, Self::Ah, Self::Esp];

    /// Its code.
    pub fn code(self) -> u16 {
        match self {
            Self::Isakmp => 0x01ff,
            Self::Ipsec => 0x02ff,
            Self::Ah => 0x0201,
            Self::Esp => 0x0202,
        }
    }

    fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|proto| proto.code() == code)
    }
}

/// Whom a request is about (`admin_com_indexes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexes {
    /// This side.
    pub source: SocketAddr,
    /// Bits of it that count.
    pub source_prefix: u8,
    /// The other side.
    pub destination: SocketAddr,
    /// Bits of it that count.
    pub destination_prefix: u8,
    /// IP protocol above, 0 for any.
    pub upper: u8,
}

/// A user of XAUTH with the password. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password, as it was typed.
    pub password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read the configuration again.
    Reload,
    /// List the timers.
    Schedule,
    /// Tell what happens from now on; `false` is the oldest clients' way, who ask for one event at a time.
    Events(bool),
    /// List SAs.
    ShowSa(Proto),
    /// Remove SAs.
    FlushSa(Proto),
    /// The state of everything.
    Status {
        /// More of it.
        verbose: bool,
        /// As JSON.
        json: bool,
    },
    /// Remove the SAs between two addresses.
    DeleteSa(Proto, Indexes),
    /// Negotiate.
    Establish {
        /// Phase 1 or phase 2.
        proto: Proto,
        /// With whom, about what.
        indexes: Indexes,
        /// The `remote "name"` section to use.
        name: Option<String>,
        /// Who we are for XAUTH.
        login: Option<Login>,
    },
    /// Remove all that there is with the destination.
    DeleteAll(Indexes),
    /// Remove what this user has.
    LogoutUser(String),
    /// The peer's certificate.
    Certificate(Indexes),
}

/// What is wrong with a request, and what its answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Command, without the flag.
    pub command: u16,
    /// Protocol code, as it came.
    pub proto: u16,
    /// For the answer.
    pub errno: Errno,
    /// For the log.
    pub what: &'static str,
}

/// `admin_com_indexes`: four bytes, four of padding, two addresses.
const INDEXES_LEN: usize = 8 + 2 * STORAGE_LEN;
/// `admin_com_psk`: an int, padding, two sizes.
const PSK_LEN: usize = 24;
/// Longest name and longest password that are taken.
const MAX_NAME: usize = 1024;
/// `IDTYPE_USERFQDN` of racoon, what racoonctl says a login is.
const ID_USER_FQDN: i32 = 2;

impl Request {
    /// How long the request is that begins with `bytes`, as soon as that can be said; an error when it cannot be one.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let [l0, l1, c0, c1, _, _, p0, p1] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        if length < HEADER_LEN {
            let (command, proto) = (u16::from_ne_bytes([c0, c1]) & !FLAG, u16::from_ne_bytes([p0, p1]));
            let what = "its length is less than that of its header";
            return Err(Malformed { command, proto, errno: Errno::Invalid, what });
        }
        Ok(Some(length))
    }

    /// Reads a request, which `bytes` are all of. Returns it with its command and its protocol code, which the answer
    /// repeats.
    pub fn parse(bytes: &[u8], abi: Abi) -> Result<(Self, u16, u16), Malformed> {
        let nothing = Malformed { command: 0, proto: 0, errno: Errno::Invalid, what: "it has no header" };
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(nothing)?;
        let [_, _, c0, c1, v0, v1, p0, p1] = *header;
        let flagged = u16::from_ne_bytes([c0, c1]);
        let (number, code) = (flagged & !FLAG, u16::from_ne_bytes([p0, p1]));
        let version = if flagged & FLAG == 0 { 0 } else { u16::from_ne_bytes([v0, v1]) };
        let wrong = |errno, what| Malformed { command: number, proto: code, errno, what };
        if Self::length(bytes)? != Some(bytes.len()) {
            return Err(wrong(Errno::Invalid, "its length field does not fit"));
        }
        let body = bytes.get(HEADER_LEN..).unwrap_or(&[]);
        let proto = || {
            Proto::from_code(code).ok_or(wrong(Errno::NotSupported, "it names a protocol that is not known"))
        };
        let indexes = || {
            let short = wrong(Errno::Invalid, "it is too short for its addresses");
            let bytes = body.first_chunk::<INDEXES_LEN>().ok_or(short)?;
            parse_indexes(bytes, abi)
                .ok_or(wrong(Errno::Invalid, "its addresses are not both IPv4 or both IPv6"))
        };
        let request = match number {
            command::RELOAD_CONF => Self::Reload,
            command::SHOW_SCHED => Self::Schedule,
            command::SHOW_EVT => Self::Events(version > 0),
            command::SHOW_SA => Self::ShowSa(proto()?),
            command::FLUSH_SA => Self::FlushSa(proto()?),
            command::STATUS | command::STATUS_VERBOSE => {
                Self::Status { verbose: number == command::STATUS_VERBOSE, json: code == 1 }
            }
            command::DELETE_SA => Self::DeleteSa(proto()?, indexes()?),
            command::DELETE_ALL_SA_DST => Self::DeleteAll(indexes()?),
            command::GET_SA_CERT => match proto()? {
                Proto::Isakmp => Self::Certificate(indexes()?),
                _ => return Err(wrong(Errno::NotSupported, "only ISAKMP SAs have certificates")),
            },
            command::LOGOUT_USER => {
                let name = text(body).filter(|name| !name.is_empty());
                Self::LogoutUser(
                    name.ok_or(wrong(Errno::Invalid, "its login is empty, too long or no text"))?,
                )
            }
            command::ESTABLISH_SA => {
                let (proto, indexes) = (proto()?, indexes()?);
                let rest = body.get(INDEXES_LEN..).unwrap_or(&[]);
                let bad_name = wrong(Errno::Invalid, "the name in it is too long or no text");
                let name = Some(text(rest).ok_or(bad_name)?).filter(|name| !name.is_empty());
                Self::Establish { proto, indexes, name, login: None }
            }
            command::ESTABLISH_SA_PSK => {
                let (proto, indexes) = (proto()?, indexes()?);
                let login = login(body.get(INDEXES_LEN..).unwrap_or(&[]));
                let login =
                    login.ok_or(wrong(Errno::Invalid, "the lengths of login and password do not fit"))?;
                Self::Establish { proto, indexes, name: None, login: Some(login) }
            }
            _ => return Err(wrong(Errno::NotSupported, "its command is not known")),
        };
        Ok((request, number, code))
    }

    /// Its bytes, as a client of version 1 sends them. Names that do not fit are cut.
    pub fn emit(&self, abi: Abi) -> Vec<u8> {
        let (number, code, mut body) = match self {
            Self::Reload => (command::RELOAD_CONF, 0, Vec::new()),
            Self::Schedule => (command::SHOW_SCHED, 0, Vec::new()),
            Self::Events(_) => (command::SHOW_EVT, 0, Vec::new()),
            Self::ShowSa(proto) => (command::SHOW_SA, proto.code(), Vec::new()),
            Self::FlushSa(proto) => (command::FLUSH_SA, proto.code(), Vec::new()),
            Self::Status { verbose, json } => {
                let number = if *verbose { command::STATUS_VERBOSE } else { command::STATUS };
                (number, u16::from(*json), Vec::new())
            }
            Self::DeleteSa(proto, indexes) => (command::DELETE_SA, proto.code(), emit_indexes(indexes, abi)),
            Self::DeleteAll(indexes) => {
                (command::DELETE_ALL_SA_DST, Proto::Isakmp.code(), emit_indexes(indexes, abi))
            }
            Self::Certificate(indexes) => {
                (command::GET_SA_CERT, Proto::Isakmp.code(), emit_indexes(indexes, abi))
            }
            Self::LogoutUser(name) => (command::LOGOUT_USER, 0, terminated(name.as_bytes())),
            Self::Establish { proto, indexes, name, login } => {
                let mut body = emit_indexes(indexes, abi);
                match login {
                    None => {
                        body.extend(name.iter().flat_map(|name| terminated(name.as_bytes())));
                        (command::ESTABLISH_SA, proto.code(), body)
                    }
                    Some(login) => {
                        let (id, key) = (terminated(login.name.as_bytes()), terminated(&login.password));
                        body.extend_from_slice(&ID_USER_FQDN.to_ne_bytes());
                        body.extend_from_slice(&[0; 4]);
                        for part in [&id, &key] {
                            body.extend_from_slice(&(part.len() as u64).to_ne_bytes());
                        }
                        body.extend_from_slice(&id);
                        body.extend_from_slice(&key);
                        (command::ESTABLISH_SA_PSK, proto.code(), body)
                    }
                }
            }
        };
        body.truncate(super::MAX_REQUEST - HEADER_LEN);
        let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
        let version = u16::from(!matches!(self, Self::Events(false)));
        let flag = if version > 0 { FLAG } else { 0 };
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
        for field in [length, number | flag, version, code] {
            bytes.extend_from_slice(&field.to_ne_bytes());
        }
        bytes.append(&mut body);
        bytes
    }
}

fn parse_indexes(bytes: &[u8; INDEXES_LEN], abi: Abi) -> Option<Indexes> {
    let [source_prefix, destination_prefix, upper, _, _, _, _, _, addresses @ ..] = bytes;
    let source = parse_address(addresses.first_chunk()?, abi)?;
    let destination = parse_address(addresses.get(STORAGE_LEN..)?.first_chunk()?, abi)?;
    let max = if source.is_ipv4() { 32 } else { 128 };
    // racoonctl says 32 where no prefix was given, for IPv6 too.
    let all = |prefix: u8| if prefix == 32 && max == 128 { 128 } else { prefix };
    let indexes = Indexes {
        source,
        source_prefix: all(*source_prefix),
        destination,
        destination_prefix: all(*destination_prefix),
        upper: *upper,
    };
    let fits = source.is_ipv4() == destination.is_ipv4()
        && indexes.source_prefix <= max
        && indexes.destination_prefix <= max;
    fits.then_some(indexes)
}

fn emit_indexes(indexes: &Indexes, abi: Abi) -> Vec<u8> {
    let mut bytes = vec![indexes.source_prefix, indexes.destination_prefix, indexes.upper, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&emit_address(Some(indexes.source), abi));
    bytes.extend_from_slice(&emit_address(Some(indexes.destination), abi));
    bytes
}

/// The text up to the first zero byte, or all of it.
fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= MAX_NAME && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn terminated(bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..MAX_NAME).unwrap_or(bytes);
    [bytes, &[0]].concat()
}

fn login(bytes: &[u8]) -> Option<Login> {
    let size = |from: usize| -> Option<usize> {
        let number = u64::from_ne_bytes(*bytes.get(from..)?.first_chunk()?);
        usize::try_from(number).ok().filter(|size| (1..=MAX_NAME + 1).contains(size))
    };
    let (id_len, key_len) = (size(8)?, size(16)?);
    let rest = bytes.get(PSK_LEN..)?;
    let (id, key) = (rest.get(..id_len)?, rest.get(id_len..)?.get(..key_len)?);
    let name = text(id).filter(|name| !name.is_empty())?;
    Some(Login { name, password: key.split(|byte| *byte == 0).next()?.to_vec() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gre() -> Indexes {
        Indexes {
            source: "192.0.2.1:0".parse().unwrap(),
            source_prefix: 32,
            destination: "192.0.2.2:0".parse().unwrap(),
            destination_prefix: 32,
            upper: 47,
        }
    }

    /// What racoonctl of ipsec-tools 0.9.1 was seen to send.
    #[test]
    #[cfg(target_endian = "little")]
    fn requests_of_a_real_racoonctl() {
        let seen: [(&[u8], Request); 4] = [
            (&[8, 0, 0x01, 0x81, 1, 0, 0xff, 0x01], Request::ShowSa(Proto::Isakmp)),
            (&[8, 0, 0x02, 0x80, 1, 0, 0, 0], Request::Schedule),
            (&[8, 0, 0x01, 0x80, 1, 0, 0, 0], Request::Reload),
            (&[8, 0, 0x02, 0x81, 1, 0, 0x02, 0x02], Request::FlushSa(Proto::Esp)),
        ];
        for (bytes, request) in seen {
            assert_eq!(Request::parse(bytes, Abi::Linux).unwrap().0, request);
            assert_eq!(request.emit(Abi::Linux), bytes);
        }
        // establish-sa esp inet 192.0.2.1 192.0.2.2 gre
        let request = Request::Establish { proto: Proto::Esp, indexes: gre(), name: None, login: None };
        let bytes = request.emit(Abi::Linux);
        assert_eq!(bytes.len(), 272);
        assert_eq!(bytes[..12], [0x10, 1, 0x02, 0x82, 1, 0, 0x02, 0x02, 0x20, 0x20, 0x2f, 0]);
        assert_eq!(bytes[16..24], [2, 0, 0, 0, 192, 0, 2, 1]);
        assert_eq!(bytes[144..152], [2, 0, 0, 0, 192, 0, 2, 2]);
        assert_eq!(Request::parse(&bytes, Abi::Linux).unwrap(), (request, command::ESTABLISH_SA, 0x0202));
    }

    #[test]
    fn what_lies_is_answered_with_an_errno() {
        let errno = |bytes: &[u8]| Request::parse(bytes, Abi::Linux).unwrap_err().errno;
        let header = |length: u16, number: u16, code: u16| -> Vec<u8> {
            [length, number, 1, code].into_iter().flat_map(u16::to_ne_bytes).collect()
        };
        assert_eq!(errno(&header(8, 0x8777, 0)), Errno::NotSupported);
        assert_eq!(errno(&header(8, 0x8101, 0x0301)), Errno::NotSupported);
        assert_eq!(errno(&header(8, 0x8201, 0x01ff)), Errno::Invalid, "no addresses");
        assert_eq!(errno(&header(9, 0x8001, 0)), Errno::Invalid);
        assert_eq!(errno(&[]), Errno::Invalid);
        assert!(Request::length(&header(7, 0x8001, 0)).is_err());
        assert_eq!(Request::length(&header(9, 0x8001, 0)), Ok(Some(9)));
        assert_eq!(Request::length(&[1, 2, 3]), Ok(None));
        // Lengths of login and password beyond the message, and huge ones.
        let login = Login { name: "joe".into(), password: b"pw".to_vec() };
        let request =
            Request::Establish { proto: Proto::Isakmp, indexes: gre(), name: None, login: Some(login) };
        let good = request.emit(Abi::Linux);
        assert_eq!(Request::parse(&good, Abi::Linux).unwrap().0, request);
        for at in [272 + 8, 272 + 16] {
            for size in [0u64, 8, 1 << 20, u64::MAX] {
                let mut bytes = good.clone();
                bytes[at..at + 8].copy_from_slice(&size.to_ne_bytes());
                assert_eq!(errno(&bytes), Errno::Invalid, "{size} at {at}");
            }
        }
        // Families that differ, and a prefix of 33 bits.
        let mixed = Indexes { destination: "[2001:db8::1]:0".parse().unwrap(), ..gre() };
        assert_eq!(errno(&Request::DeleteAll(mixed).emit(Abi::Linux)), Errno::Invalid);
        let long = Indexes { source_prefix: 33, ..gre() };
        assert_eq!(errno(&Request::DeleteAll(long).emit(Abi::Linux)), Errno::Invalid);
        assert_eq!(errno(&Request::LogoutUser(String::new()).emit(Abi::Linux)), Errno::Invalid);
    }

    #[test]
    fn passwords_are_not_printed() {
        let login = Login { name: "joe".into(), password: b"hunter2".to_vec() };
        assert!(!format!("{login:?}").contains("104") && !format!("{login:?}").contains("hunter2"));
    }

    fn indexes() -> impl Strategy<Value = Indexes> {
        let v4 = any::<(u32, u32, u16, u16, u8)>().prop_flat_map(|(a, b, p, q, upper)| {
            (0..=32u8, 0..=32u8).prop_map(move |(source_prefix, destination_prefix)| Indexes {
                source: SocketAddr::new(std::net::Ipv4Addr::from(a).into(), p),
                source_prefix,
                destination: SocketAddr::new(std::net::Ipv4Addr::from(b).into(), q),
                destination_prefix,
                upper,
            })
        });
        let v6 = any::<(u128, u128, u16, u16, u8)>().prop_map(|(a, b, p, q, upper)| Indexes {
            source: SocketAddr::new(std::net::Ipv6Addr::from(a).into(), p),
            source_prefix: 128,
            destination: SocketAddr::new(std::net::Ipv6Addr::from(b).into(), q),
            destination_prefix: 64,
            upper,
        });
        prop_oneof![v4, v6]
    }

    fn request() -> impl Strategy<Value = Request> {
        let proto = || prop::sample::select(Proto::ALL.to_vec());
        let name = || "[a-z0-9.@ -]{1,60}";
        let login = (name(), prop::collection::vec(1u8.., 0..60))
            .prop_map(|(name, password)| Login { name, password });
        prop_oneof![
            Just(Request::Reload),
            Just(Request::Schedule),
            any::<bool>().prop_map(Request::Events),
            proto().prop_map(Request::ShowSa),
            proto().prop_map(Request::FlushSa),
            any::<(bool, bool)>().prop_map(|(verbose, json)| Request::Status { verbose, json }),
            (proto(), indexes()).prop_map(|(proto, indexes)| Request::DeleteSa(proto, indexes)),
            (proto(), indexes(), prop::option::of(name())).prop_map(|(proto, indexes, name)| {
                Request::Establish { proto, indexes, name, login: None }
            }),
            (proto(), indexes(), login).prop_map(|(proto, indexes, login)| {
                Request::Establish { proto, indexes, name: None, login: Some(login) }
            }),
            indexes().prop_map(Request::DeleteAll),
            name().prop_map(Request::LogoutUser),
            indexes().prop_map(Request::Certificate),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(request in request()) {
            for abi in [Abi::Linux, Abi::FreeBsd] {
                let bytes = request.emit(abi);
                prop_assert_eq!(Request::length(&bytes), Ok(Some(bytes.len())));
                prop_assert_eq!(super::super::is_classic(&bytes), Some(true));
                prop_assert_eq!(&Request::parse(&bytes, abi).unwrap().0, &request);
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Request::length(&bytes);
            let _ = Request::parse(&bytes, Abi::Linux);
            let _ = Request::parse(&bytes, Abi::FreeBsd);
        }

        #[test]
        fn changed_and_cut(request in request(), at in 0usize..300, value: u8, cut in 0usize..400) {
            let mut bytes = request.emit(Abi::Linux);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            let _ = Request::parse(&bytes, Abi::Linux);
            bytes.truncate(cut);
            let _ = Request::parse(&bytes, Abi::Linux);
        }
    }
}
