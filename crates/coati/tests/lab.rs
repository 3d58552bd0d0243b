//! Two real daemons in namespaces, and somebody on the internet between them who listens, kills and forges.
//!
//! What must hold at every moment: no GRE packet crosses the internet in clear, and nothing that was not sealed by the
//! peer comes out of a tunnel.

#[path = "lab/alone.rs"]
mod alone;
#[path = "lab/handling.rs"]
mod handling;
#[path = "lab/ipv6.rs"]
mod ipv6;
#[path = "lab/racoonctl.rs"]
mod racoonctl;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use coati_os::raw::RawSocket;
use coati_wire::{gre, icmp, ipv4};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab that was left running, in a folder of its own. It ends with this value.
struct Lab {
    dir: PathBuf,
}

impl Lab {
    /// `None` where there are no namespaces or no TUN, which in CI is a failure.
    fn start(name: &str) -> Option<Self> {
        let dir = std::env::temp_dir().join(format!("coati-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("pcap")).unwrap();
        let lab = Self { dir };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed");
        let pcap = lab.dir.join("pcap");
        let mut command = lab.coati();
        command.args(["lab", "--keep", "--pcap"]).arg(&pcap).arg(&example);
        // By pipes, whose end comes although the lab is left running.
        let output = command.output().unwrap();
        let status = output.status;
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if said.contains("over the simulator instead") {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no lab in CI:\n{said}");
            eprintln!("skipped: {said}");
            return None;
        }
        assert!(status.success(), "{said}");
        Some(lab)
    }

    fn coati(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coati"));
        command.env("XDG_RUNTIME_DIR", &self.dir).stdin(Stdio::null());
        command
    }

    fn exec(&self, node: &str, args: &[&str]) -> Output {
        self.coati().args(["lab", "exec", node, "--"]).args(args).output().unwrap()
    }

    /// Runs a shell command on a node; what it printed on both, and its exit code.
    fn shell(&self, node: &str, line: &str) -> (String, i32) {
        let output = self.exec(node, &["sh", "-c", line]);
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
    }

    /// `coati status --json` of a site.
    fn status(&self, site: &str) -> Option<serde_json::Value> {
        let output = self.exec(site, &["coati", "status", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    fn counter(&self, site: &str, name: &str) -> u64 {
        let status = self.status(site).unwrap();
        let list = status["counters"].as_array().unwrap();
        list.iter().find(|row| row[0] == name).map_or(0, |row| row[1].as_u64().unwrap())
    }

    /// One ping from the host on LAN a to the host on LAN b; whether a reply came.
    fn ping(&self) -> bool {
        self.exec("host-a", &["/proc/self/exe", "lab-ping", "10.2.0.10", "1"]).status.success()
    }

    fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "{what}: status of a: {:#?}", self.status("a"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same where no daemon can be asked.
    fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every IP packet that crossed the internet so far.
    fn packets(&self) -> Vec<Vec<u8>> {
        let bytes = fs::read(self.dir.join("pcap/internet.pcap")).unwrap();
        // Nothing before its first flush.
        let mut rest = bytes.get(24..).unwrap_or(&[]);
        let mut list = Vec::new();
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes(rest[8..12].try_into().unwrap()) as usize;
            let Some(frame) = rest.get(16..16 + length) else { break };
            if let [8, 0, packet @ ..] | [0x86, 0xdd, packet @ ..] = &frame[12..] {
                list.push(packet.to_vec());
            }
            rest = &rest[16 + length..];
        }
        list
    }

    fn count(&self, protocol: u8) -> usize {
        let is = |bytes: &&Vec<u8>| ipv4::Packet::new(bytes).is_ok_and(|p| p.protocol() == protocol);
        self.packets().iter().filter(is).count()
    }

    /// Runs an `#[ignore]`d function of this file inside a node.
    fn on_node(&self, node: &str, function: &str) {
        let this = std::env::current_exe().unwrap();
        let mut command = self.coati();
        command.args(["lab", "exec", node, "--"]).arg(this).args(["--exact", function, "--ignored"]);
        let output = command.env("COATI_TEST_NODE", node).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs one of the `#[ignore]`d functions below inside the internet's namespace.
    fn on_the_internet(&self, function: &str, packets: &[Vec<u8>]) {
        let file = self.dir.join("packets");
        fs::write(&file, serde_json::to_vec(packets).unwrap()).unwrap();
        let this = std::env::current_exe().unwrap();
        let mut command = self.coati();
        command.args(["lab", "exec", "internet", "--"]).arg(this).args(["--exact", function, "--ignored"]);
        let output = command.env("COATI_TEST_PACKETS", file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn daemon(&self, site: &str) -> u32 {
        u32::try_from(self.status(site).unwrap()["pid"].as_u64().unwrap()).unwrap()
    }

    fn start_daemon(&self, site: &str) -> Child {
        let mut command = self.coati();
        command.args(["lab", "exec", site, "--", "coati", "up"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.coati().args(["lab", "down"]).output();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Sends packets as they are. Not a test: it runs where only a node of the lab is.
#[test]
#[ignore = "started by other tests, inside the internet's namespace"]
fn send_raw() {
    let Some(file) = std::env::var_os("COATI_TEST_PACKETS") else { return };
    let packets: Vec<Vec<u8>> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let socket = RawSocket::new(ipv4::protocol::GRE).unwrap();
    let (sent, error) = socket.send_batch(packets.iter().map(Vec::as_slice));
    assert_eq!(sent, packets.len(), "{error:?}");
}

fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Repr {
        tos: 0,
        id: 1,
        dont_fragment: false,
        ttl: 60,
        protocol,
        source,
        destination,
        payload_len: payload.len(),
    };
    [&header.emit()[..], payload].concat()
}

/// An echo request from the far LAN to the near one, in GRE and nothing else.
fn clear_gre() -> Vec<u8> {
    let request = icmp::Repr::EchoRequest { id: 77, sequence: 1, data: b"forged" }.emit();
    let inner =
        packet(Ipv4Addr::new(10, 2, 0, 10), Ipv4Addr::new(10, 1, 0, 10), ipv4::protocol::ICMP, &request);
    let header = gre::Repr::plain(gre::ethertype::IPV4);
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).unwrap();
    bytes.extend_from_slice(&inner);
    packet(B, A, ipv4::protocol::GRE, &bytes)
}

#[test]
fn nothing_in_clear_and_nothing_forged() {
    let Some(lab) = Lab::start("clear") else { return };
    assert!(lab.ping());
    lab.wait("the capture has written something", || lab.count(ipv4::protocol::ESP) > 0);
    let esp_before = lab.count(ipv4::protocol::ESP);
    assert_eq!(lab.count(ipv4::protocol::GRE), 0, "at start and before keys");

    // Renewal, and SAs that are gone while packets flow.
    for site in ["a", "b"] {
        assert!(lab.exec(site, &["setkey", "-F"]).status.success());
        lab.wait("new SAs after a flush", || lab.ping());
    }
    assert_eq!(lab.count(ipv4::protocol::GRE), 0, "at renewal");

    // The how-to's own command, again and again, under traffic: no ping is lost and none is seen.
    for site in ["a", "b", "a"] {
        let file = ["setkey", "-f", "/usr/local/etc/racoon/setkey.conf"];
        assert!(lab.exec(site, &file).status.success());
        assert!(lab.ping(), "the first packet after setkey -f in {site}");
    }
    // Without any policy nothing passes, in no direction.
    assert!(lab.exec("a", &["setkey", "-FP"]).status.success());
    assert!(!lab.ping());
    lab.on_the_internet("send_raw", &[clear_gre()]);
    lab.wait("dropped for want of a policy", || lab.counter("a", "tunnel-without-policy") > 1);
    let ours = 1;
    lab.wait("the capture has ours", || lab.count(ipv4::protocol::GRE) == ours);
    assert!(lab.exec("a", &["setkey", "-f", "/usr/local/etc/racoon/setkey.conf"]).status.success());
    lab.wait("packets cross again", || lab.ping());
    assert_eq!(lab.count(ipv4::protocol::GRE), ours, "while policies were away");

    // A clear GRE packet from the peer's address is dropped, and counted.
    let dropped = lab.counter("a", "clear-where-ipsec-required");
    lab.on_the_internet("send_raw", &[clear_gre(), clear_gre()]);
    lab.wait("two clear packets counted", || lab.counter("a", "clear-where-ipsec-required") == dropped + 2);
    // Those are ours too: they were sent on the internet on purpose.
    let ours = ours + 2;
    lab.wait("the capture has them too", || lab.count(ipv4::protocol::GRE) == ours);

    // The same ESP packet again, and one that was changed on the way.
    let to_a = |bytes: &&Vec<u8>| {
        ipv4::Packet::new(bytes).is_ok_and(|p| p.protocol() == ipv4::protocol::ESP && p.destination() == A)
    };
    assert!(lab.ping());
    let inbound = lab.status("a").unwrap()["tunnels"][0]["inbound"].to_string();
    let of_now = |bytes: &&Vec<u8>| {
        let spi = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
        to_a(bytes) && inbound.contains(&format!("{spi:#010x}"))
    };
    lab.wait("the capture has a packet of the SA in use", || lab.packets().iter().any(|p| of_now(&p)));
    let caught = lab.packets().iter().rfind(of_now).cloned().unwrap();
    // With a sequence number that was not seen yet, so that it is the integrity check which has to find it.
    let mut changed = caught.clone();
    changed[26] ^= 1;
    let unknown = packet(B, A, ipv4::protocol::ESP, &[9; 80]);
    lab.on_the_internet("send_raw", &[caught, changed, unknown]);
    for name in ["esp-replayed", "esp-forged", "esp-unknown-spi"] {
        lab.wait(name, || lab.counter("a", name) > 0);
    }
    assert!(lab.ping(), "all that has changed nothing");

    // Killed without any leave, while the other side goes on sending; then started again.
    coati_os::process::end(lab.daemon("b"), true).unwrap();
    for _ in 0..3 {
        let _ = lab.ping();
    }
    let mut again = lab.start_daemon("b");
    lab.wait("the killed daemon is back", || lab.status("b").is_some_and(|s| !s["routes"][0].is_null()));
    lab.wait("packets cross again", || lab.ping());
    assert_eq!(lab.count(ipv4::protocol::GRE), ours, "at kill and restart");

    // Shutdown in order.
    coati_os::process::end(lab.daemon("b"), false).unwrap();
    assert!(again.wait().unwrap().success());
    lab.wait("a has heard of it", || lab.status("a").is_some_and(|s| s["routes"][0].is_null()));
    let _ = lab.ping();
    assert_eq!(lab.count(ipv4::protocol::GRE), ours, "at shutdown");
    assert!(lab.count(ipv4::protocol::ESP) > esp_before);
}

#[test]
fn surroundings_that_do_not_fit_are_named() {
    let Some(lab) = Lab::start("surroundings") else { return };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    // A second daemon beside the first.
    let second = lab.exec("a", &["coati", "up"]);
    assert!(!second.status.success());
    assert!(said(&second).contains("coati.sock"), "{}", said(&second));

    // UDP 500 taken, here by the first one.
    let other_socket = ["coati", "up", "--socket", "/run/other.sock", "--log", "/run/other.log"];
    let taken = lab.exec("a", &other_socket);
    assert!(!taken.status.success());
    let text = said(&taken);
    assert!(
        text.contains("UDP 192.0.2.1 port 500") && text.contains("stop racoon, charon or pluto"),
        "{text}"
    );
    assert!(lab.ping(), "the first one has not noticed");

    // Nobody has these addresses.
    let elsewhere = lab.exec("host-a", &["/proc/self/exe", "up", "/nowhere"]);
    assert!(!elsewhere.status.success() && said(&elsewhere).contains("/nowhere"), "{}", said(&elsewhere));

    // Garbage and truncated datagrams on every port: nothing changes.
    let mut packets = Vec::new();
    for length in [0usize, 1, 7, 8, 27, 28, 60, 300] {
        for port in [500u16, 4500] {
            let mut datagram = vec![1, 244];
            datagram.extend_from_slice(&port.to_be_bytes());
            datagram.extend_from_slice(&u16::try_from(length + 8).unwrap().to_be_bytes());
            datagram.extend_from_slice(&[0, 0]);
            datagram.extend((0..length).map(|index| u8::try_from(index * 7 % 251).unwrap()));
            packets.push(packet(B, A, ipv4::protocol::UDP, &datagram));
        }
        packets.push(packet(B, A, ipv4::protocol::ESP, &vec![0xa5; length]));
        packets.push(packet(B, A, ipv4::protocol::GRE, &vec![0x5a; length]));
    }
    lab.on_the_internet("send_raw", &packets);
    lab.wait("garbage is counted", || lab.counter("a", "ike: malformed header") > 0);
    assert!(lab.ping());
}

#[test]
fn without_rights_it_says_so() {
    if coati_os::process::user() == 0 {
        // Root has all rights; CI runs as root, and the lab's step as another user covers it.
        return;
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/manual-keys/site-a");
    let socket = std::env::temp_dir().join(format!("coati-test-{}.sock", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_coati"))
        .args(["up", "--socket"])
        .arg(&socket)
        .arg(example)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("run it as root"), "{text}");
}
