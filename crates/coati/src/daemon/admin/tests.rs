//! Both protocols on a real socket, with a daemon behind it that answers from a table.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use coati_router::admin::{Cause, EventKind, IsakmpStatus, Refused, TimerStatus};
use coati_sadb::{
    AuthAlgorithm, EncAlgorithm, Lifetime, Mode, Reply, ReqId, Request, Sa, SaId, SaProto, SaState, Secret,
    Spi, Usage,
};
use coati_wire::adminport::{Abi, Errno, Indexes, Login, Proto, Request as Classic, command, reply};
use coati_wire::pfkey;

use super::*;

struct Fixture {
    server: AdminServer,
    path: PathBuf,
    seen: Vec<AdminRequest>,
    remarks: Vec<String>,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coati-admin-{}-{name}.sock", std::process::id()));
        let server = AdminServer::bind(&[AdminSocket::private(path.clone())]).unwrap();
        Self { server, path, seen: Vec::new(), remarks: Vec::new() }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    fn serve(&mut self) {
        let seen = &mut self.seen;
        for _ in 0..3 {
            self.remarks.extend(self.server.serve(|request| {
                let reply = table(&request);
                seen.push(request);
                reply
            }));
        }
    }

    /// Sends bytes and returns everything that comes back until the end of the connection.
    fn classic(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        self.serve();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

fn peer() -> IpAddr {
    "192.0.2.2".parse().unwrap()
}

fn isakmp() -> IsakmpStatus {
    IsakmpStatus {
        local: "192.0.2.1:500".parse().unwrap(),
        remote: SocketAddr::new(peer(), 500),
        initiator_cookie: "69115f39ec3bca67".into(),
        responder_cookie: "6191076ca75838dc".into(),
        state: 9,
        initiator: true,
        version: 0x10,
        exchange: 2,
        created: 1_764_000_000,
        phase2: 2,
        identity: None,
    }
}

fn sa(spi: u32) -> Sa {
    Sa {
        id: SaId {
            source: "192.0.2.1".parse().unwrap(),
            destination: peer(),
            proto: SaProto::Esp,
            spi: Spi(spi),
        },
        mode: Mode::Transport,
        reqid: ReqId(16_384),
        enc: EncAlgorithm::AesCbc,
        enc_key: Secret::new(vec![1; 16]),
        auth: AuthAlgorithm::HmacSha1,
        auth_key: Secret::new(vec![2; 20]),
        replay_window: 32,
        esn: false,
        nat_t: None,
        soft: Lifetime { add_seconds: 11_520, ..Lifetime::default() },
        hard: Lifetime { add_seconds: 14_400, ..Lifetime::default() },
        state: SaState::Mature,
        usage: Usage { packets: 50, bytes: 4400, added: 1_764_000_000, used: 0 },
        sequence: 50,
        offload: None,
    }
}

fn table(request: &AdminRequest) -> AdminReply {
    match request {
        AdminRequest::Isakmp => AdminReply::Isakmp(vec![isakmp(); 2]),
        AdminRequest::Schedule => AdminReply::Schedule(vec![TimerStatus {
            id: 2,
            what: "DPD".into(),
            tick: 20,
            fires: 25,
            created: 1_764_000_000,
        }]),
        AdminRequest::Sadb(Request::Dump(Some(SaProto::Ah))) => {
            AdminReply::Sadb(Reply::Sas { sas: Vec::new() })
        }
        AdminRequest::Sadb(Request::Dump(_)) => {
            AdminReply::Sadb(Reply::Sas { sas: vec![sa(0x1001), sa(0x1002), sa(0x1003)] })
        }
        AdminRequest::Sadb(_) => AdminReply::Sadb(Reply::Done),
        AdminRequest::Reload => {
            AdminReply::Refused(Refused::new(Cause::Failed, "racoon.conf:3:1: error: unknown word"))
        }
        AdminRequest::Establish(_) => AdminReply::Done,
        AdminRequest::Certificate { .. } => AdminReply::Certificate(vec![0x30, 0x82, 1, 2]),
        AdminRequest::DeletePair { .. } => AdminReply::Refused(Refused::new(Cause::NotFound, "no such SA")),
        AdminRequest::LogoutUser(_) => AdminReply::Refused(Refused::new(Cause::Exists, "there")),
        _ => AdminReply::Done,
    }
}

fn event(kind: EventKind, remote: &str) -> EventStatus {
    EventStatus {
        kind,
        at: 1_764_000_001,
        local: Some("192.0.2.1:500".parse().unwrap()),
        remote: Some(remote.parse().unwrap()),
        address: None,
        banner: None,
        why: String::new(),
    }
}

fn indexes() -> Indexes {
    Indexes {
        source: "192.0.2.1:0".parse().unwrap(),
        source_prefix: 32,
        destination: SocketAddr::new(peer(), 0),
        destination_prefix: 32,
        upper: 47,
    }
}

#[test]
fn an_old_racoonctl_lists_sas() {
    let mut fixture = Fixture::new("lists");
    // The very bytes of `racoonctl show-sa isakmp`.
    let answer = fixture.classic(&Classic::ShowSa(Proto::Isakmp).emit(Abi::HOST));
    let header = reply::Header::parse(&answer).unwrap();
    assert_eq!((header.length, header.command, header.errno), (answer.len(), command::SHOW_SA, 0));
    assert_eq!(answer.len(), 8 + 2 * reply::IsakmpSa::LEN);
    let shown = reply::IsakmpSa::parse(&answer[8..], Abi::HOST).unwrap();
    assert_eq!((shown.state, shown.initiator, shown.phase2), (9, true, 2));
    assert_eq!(shown.initiator_cookie, 0x6911_5f39_ec3b_ca67_u64.to_be_bytes());

    // Sequence numbers count down to 0, as the clients' loop needs it.
    let answer = fixture.classic(&Classic::ShowSa(Proto::Esp).emit(Abi::HOST));
    let mut rest = &answer[8..];
    let mut sequences = Vec::new();
    while !rest.is_empty() {
        let (sa, following) = pfkey::Repr::parse(rest).unwrap();
        assert_eq!((sa.replay, sa.auth_key, sa.encrypt_key), (4, &[2; 20][..], &[1; 16][..]));
        sequences.push((sa.sequence, sa.spi));
        rest = following;
    }
    assert_eq!(sequences, [(2, 0x1001), (1, 0x1002), (0, 0x1003)]);
    let answer = fixture.classic(&Classic::ShowSa(Proto::Ah).emit(Abi::HOST));
    let (header, _, _) = pfkey::Header::parse(&answer[8..]).unwrap();
    assert_eq!((header.errno, header.kind, header.sequence), (2, pfkey::message::DUMP, 0));

    let answer = fixture.classic(&Classic::Schedule.emit(Abi::HOST));
    assert_eq!(reply::Timer::parse(&answer[8..]).unwrap().tick, 20);
    let answer = fixture.classic(&Classic::Certificate(indexes()).emit(Abi::HOST));
    assert_eq!(answer[8..], [0x30, 0x82, 1, 2]);
}

#[test]
fn an_old_racoonctls_orders_become_ours() {
    let mut fixture = Fixture::new("orders");
    let errno = |fixture: &mut Fixture, request: Classic| {
        let answer = fixture.classic(&request.emit(Abi::HOST));
        assert_eq!(answer.len(), 8);
        reply::Header::parse(&answer).unwrap().errno
    };
    assert_eq!(errno(&mut fixture, Classic::FlushSa(Proto::Isakmp)), 0);
    assert_eq!(errno(&mut fixture, Classic::FlushSa(Proto::Esp)), 0);
    assert_eq!(errno(&mut fixture, Classic::DeleteSa(Proto::Isakmp, indexes())), 0);
    assert_eq!(errno(&mut fixture, Classic::DeleteSa(Proto::Esp, indexes())), 2);
    assert_eq!(errno(&mut fixture, Classic::LogoutUser("joe".into())), 17);
    assert_eq!(errno(&mut fixture, Classic::Reload), 1);
    let [flush, esp, isakmp, pair, logout, reload] = &fixture.seen[..] else { panic!("{:?}", fixture.seen) };
    assert!(matches!(flush, AdminRequest::FlushIsakmp));
    assert!(matches!(esp, AdminRequest::Sadb(Request::Flush(Some(SaProto::Esp)))));
    assert!(matches!(isakmp, AdminRequest::DeleteIsakmp { remote, .. } if remote.ip() == peer()));
    assert!(
        matches!(pair, AdminRequest::DeletePair { selector, .. } if selector.upper == coati_sadb::Upper::GRE)
    );
    assert!(matches!(logout, AdminRequest::LogoutUser(name) if name == "joe"));
    assert!(matches!(reload, AdminRequest::Reload));
}

#[test]
fn events_are_pushed_to_those_who_wait() {
    let mut fixture = Fixture::new("events");
    // `establish-sa -w`: events of that peer only. `show-event`: all of them.
    let login = Login { name: "joe".into(), password: b"secret".to_vec() };
    let establish =
        Classic::Establish { proto: Proto::Isakmp, indexes: indexes(), name: None, login: Some(login) };
    let mut waiting = fixture.connect();
    waiting.write_all(&establish.emit(Abi::HOST)).unwrap();
    let mut watching = fixture.connect();
    watching.write_all(&Classic::Events(true).emit(Abi::HOST)).unwrap();
    let mut json = BufReader::new(fixture.connect());
    json.get_mut().write_all(b"\"events\"\n").unwrap();
    fixture.serve();
    fixture.server.tell_event(&event(EventKind::Phase1Up, "203.0.113.9:500"));
    let mut bound = event(EventKind::Phase1ModeCfg, "192.0.2.2:500");
    (bound.address, bound.banner) = (Some("10.9.9.9".parse().unwrap()), Some("hello".into()));
    fixture.server.tell_event(&bound);

    let next = |stream: &mut UnixStream| {
        let mut header = [0; 8];
        stream.read_exact(&mut header).unwrap();
        let header = reply::Header::parse(&header).unwrap();
        let mut body = vec![0; header.length - 8];
        stream.read_exact(&mut body).unwrap();
        (header, reply::Event::parse(&body, Abi::HOST))
    };
    // The answer to the request comes first.
    assert_eq!(next(&mut waiting).0.command, command::ESTABLISH_SA_PSK);
    let (header, told) = next(&mut waiting);
    let told = told.unwrap();
    assert_eq!((header.command, told.kind), (command::SHOW_EVT, 0x107));
    assert_eq!(told.attributes, [&[0, 1, 0, 4, 10, 9, 9, 9, 0x70, 0, 0, 5][..], b"hello"].concat());
    assert_eq!(next(&mut watching).1, None);
    assert_eq!(next(&mut watching).1.unwrap().kind, 0x100);
    assert_eq!(next(&mut watching).1.unwrap().kind, 0x107);
    let lines: Vec<String> = json.lines().take(3).map(Result::unwrap).collect();
    assert_eq!(lines[0], "\"done\"");
    assert!(lines[1].contains("phase1-up") && lines[2].contains("phase1-mode-cfg"), "{lines:?}");
    assert!(!format!("{:?}", fixture.seen).contains("secret"));
}

#[test]
fn malformed_messages_get_an_errno_and_the_next_one_is_served() {
    let mut fixture = Fixture::new("malformed");
    let header = |length: u16, number: u16| -> Vec<u8> {
        [length, number, 1, 0x0202].into_iter().flat_map(u16::to_ne_bytes).collect()
    };
    let cases: [(Vec<u8>, i16); 5] = [
        (header(8, 0x8777), Errno::NotSupported.number(Abi::HOST)),
        (header(0, 0x8101), 22),
        (header(7, 0x8101), 22),
        (header(8, 0x8201), 22),
        ([header(20, 0x8202), vec![0xff; 12]].concat(), 22),
    ];
    for (bytes, errno) in cases {
        let answer = fixture.classic(&bytes);
        assert_eq!(reply::Header::parse(&answer).unwrap().errno, errno, "{bytes:?}");
    }
    assert_eq!(fixture.remarks.len(), 5);
    assert!(
        fixture.remarks[0].contains("0x0777 is refused: its command is not known"),
        "{:?}",
        fixture.remarks
    );
    // One that announces more than it sends waits, and keeps nobody else waiting.
    let mut slow = fixture.connect();
    slow.write_all(&header(60_000, 0x8202)).unwrap();
    let answer = fixture.classic(&Classic::Schedule.emit(Abi::HOST));
    assert_eq!(reply::Header::parse(&answer).unwrap().errno, 0);
    // JSON that is none, and a request that does not exist.
    for line in ["{\"sadb\":\n", "\"no-such-thing\"\n", "{\"establish\":{\"isakmp\":{}}}\n", "[[[[[[\n"] {
        let mut stream = fixture.connect();
        stream.write_all(line.as_bytes()).unwrap();
        fixture.serve();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.starts_with("{\"error\":\"this is no request"), "{answer}");
    }
}

#[test]
fn one_byte_at_a_time() {
    let mut fixture = Fixture::new("bytes");
    let mut stream = fixture.connect();
    let began = Instant::now();
    for byte in Classic::DeleteAll(indexes()).emit(Abi::HOST) {
        stream.write_all(&[byte]).unwrap();
        fixture.serve();
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(fixture.seen[..], [AdminRequest::Disconnect(address)] if address == peer()));
}

#[test]
fn rights_of_the_socket() {
    let folder = std::env::temp_dir().join(format!("coati-admin-{}-folder", std::process::id()));
    let path = folder.join("run/racoon.sock");
    let socket = AdminSocket { mode: 0o660, ..AdminSocket::private(path.clone()) };
    let server = AdminServer::bind(std::slice::from_ref(&socket)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let error = AdminServer::bind(std::slice::from_ref(&socket)).unwrap_err();
    assert!(error.to_string().contains("another daemon listens"), "{error}");
    drop(server);
    assert!(!path.exists());
    // What is no socket is never removed.
    fs::write(&path, "precious").unwrap();
    let error = AdminServer::bind(&[socket]).unwrap_err();
    assert!(error.to_string().contains("is no socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn silent_connections_shut_nobody_out() {
    let mut fixture = Fixture::new("silent");
    let mut watcher = fixture.connect();
    watcher.write_all(b"\"events\"\n").unwrap();
    fixture.serve();
    let mut silent = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        silent.push(fixture.connect());
        fixture.serve();
    }
    let mut stream = fixture.connect();
    stream.write_all(b"\"isakmp\"\n").unwrap();
    fixture.serve();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("{\"isakmp\""), "{answer}");
    assert!(fixture.server.connections.len() <= MAX_CONNECTIONS);
    // The one that waits for events is still there.
    assert!(fixture.server.connections.iter().any(|connection| connection.events.is_some()));
}
