//! Every part is usable alone, by what the folder holds.

use super::*;

/// Two daemons with nothing but an ospfd.conf, on the interfaces that exist: site a's LAN and the host on it.
#[test]
fn ospf_without_anything_else() {
    let Some(lab) = Lab::start("ospf-alone") else { return };
    let mut daemons = Vec::new();
    for (node, interface, id) in [("a", "em1", "10.0.0.1"), ("host-a", "eth0", "10.0.0.2")] {
        let dir = lab.dir.join(format!("only-ospf-{node}"));
        fs::create_dir(&dir).unwrap();
        let text = format!(
            "interface {interface}\n ip ospf network point-to-point\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n!\n\
             router ospf\n ospf router-id {id}\n network 10.1.0.0/24 area 0\n"
        );
        fs::write(dir.join("ospfd.conf"), text).unwrap();
        let socket = dir.join("alone.sock");
        let mut command = lab.coati();
        command.args(["lab", "exec", node, "--", "/proc/self/exe", "up", "--socket"]);
        command.arg(&socket).arg("--log").arg(lab.dir.join(format!("alone-{node}.log")));
        command.arg("--state").arg(lab.dir.join(format!("alone-{node}.json")));
        command.arg(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        daemons.push((node, socket, command.spawn().unwrap()));
    }
    let show = |node: &str, socket: &Path, words: &str| {
        let socket = socket.display().to_string();
        let mut args = vec!["/proc/self/exe", "show", "--socket", &socket];
        args.extend(words.split(' '));
        String::from_utf8_lossy(&lab.exec(node, &args).stdout).into_owned()
    };
    for (node, socket, _) in &daemons {
        lab.wait("Full", || show(node, socket, "ip ospf neighbor").contains("Full/-"));
        let has_both = |text: &str| text.contains("10.0.0.1 ") && text.contains("10.0.0.2 ");
        lab.wait("both LSAs", || has_both(&show(node, socket, "ip ospf database")));
    }
    let (node, socket, _) = &daemons[0];
    let order = |words: &[&str]| {
        let path = socket.display().to_string();
        let mut args = vec!["/proc/self/exe", words[0], "--socket", &path];
        args.extend(&words[1..]);
        let ran = lab.exec(node, &args);
        String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
    };
    let log = || fs::read_to_string(lab.dir.join("alone-a.log")).unwrap();
    assert!(!log().contains("RECV Hello"));
    assert!(order(&["debug", "ospf", "packet", "hello"]).contains("debug ospf packet hello"));
    lab.wait("hellos in the log", || log().contains("RECV Hello from") && log().contains("SEND Hello to"));
    assert!(show(node, socket, "debugging ospf").contains("debug ospf packet hello"));
    assert!(order(&["undebug", "ospf"]).contains("none"));
    assert!(order(&["debug", "ospf", "hello"]).contains("packet, event, ism, nsm, lsa, spf"));
    let refused = order(&["graceful-restart", "prepare", "ip", "ospf"]);
    assert!(refused.contains("write `graceful-restart` in `router ospf` first"), "{refused}");
    // What it knows for its next start.
    let state = fs::read_to_string(lab.dir.join("alone-a.json")).unwrap();
    assert!(state.contains("10.0.0.2") && state.contains("em1"), "{state}");
    for (_, _, mut daemon) in daemons {
        coati_os::process::end(daemon.id(), false).unwrap();
        daemon.wait().unwrap();
    }
}

/// A daemon with OSPF and nothing else on a node.
struct Router<'a> {
    lab: &'a Lab,
    node: &'static str,
    socket: PathBuf,
    daemon: Child,
}

impl<'a> Router<'a> {
    fn start(lab: &'a Lab, node: &'static str, conf: &str) -> Self {
        let dir = lab.dir.join(format!("router-{node}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("ospfd.conf"), conf).unwrap();
        let socket = dir.join("coati.sock");
        let mut command = lab.coati();
        command.args(["lab", "exec", node, "--", "/proc/self/exe", "up", "--socket"]).arg(&socket);
        command.arg("--log").arg(dir.join("log")).arg(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = command.spawn().unwrap();
        Self { lab, node, socket, daemon }
    }

    fn show(&self, words: &str) -> String {
        let socket = self.socket.display().to_string();
        let mut args = vec!["/proc/self/exe", "show", "--socket", &socket];
        args.extend(words.split(' '));
        String::from_utf8_lossy(&self.lab.exec(self.node, &args).stdout).into_owned()
    }

    fn shell(&self, line: &str) {
        let (text, code) = self.lab.shell(self.node, line);
        assert_eq!(code, 0, "{line}: {text}");
    }
}

impl Drop for Router<'_> {
    fn drop(&mut self) {
        let _ = coati_os::process::end(self.daemon.id(), false);
        let _ = self.daemon.wait();
    }
}

/// Interfaces come late, go and come back under their names: nobody has to start anything again.
#[test]
fn interfaces_that_come_and_go() {
    let Some(lab) = Lab::start("come-and-go") else { return };
    let conf = "interface line\n ip ospf area 0\n ip ospf network point-to-point\nrouter \
                ospf\n ospf router-id 10.0.0.";
    // Both are there before their interfaces are.
    let near = Router::start(&lab, "host-a", &format!("{conf}1\n"));
    let far = Router::start(&lab, "host-b", &format!("{conf}2\n"));
    let is_full = |router: &Router<'_>| router.show("ip ospf neighbor").contains("Full/");
    lab.wait("both answer", || {
        [&near, &far].iter().all(|router| router.show("ip ospf").contains("Router ID"))
    });
    for round in 0..20 {
        near.shell(&format!("ip link add line type veth peer name line netns {}", far.daemon.id()));
        for (router, own) in [(&near, 1), (&far, 2)] {
            router.shell(&format!("ip address add 172.16.0.{own}/30 dev line && ip link set line up"));
        }
        lab.wait(&format!("round {round}"), || is_full(&near) && is_full(&far));
        near.shell("ip link delete line");
        lab.wait("it is gone", || !is_full(&near) && !is_full(&far));
    }
}

/// Routes of the file need no `router ospf`, and go with the program.
#[test]
fn static_routes_without_ospf() {
    let Some(lab) = Lab::start("static-alone") else { return };
    let text =
        "ip route 172.29.0.0/16 Null0\nip route 172.30.0.0/16 Null0\nip route 172.31.0.0/16 10.1.0.1\n";
    // Somebody else's route of the same metric is neither replaced nor taken away.
    let others = "172.29.0.0/16 via 10.1.0.1 dev eth0 proto static metric 20";
    lab.shell("host-a", &format!("ip route add {others}"));
    let router = Router::start(&lab, "host-a", text);
    let routes = || lab.shell("host-a", "ip route").0;
    let wanted = ["blackhole 172.30.0.0/16 proto 77", "172.31.0.0/16 via 10.1.0.1 dev eth0 proto 77"];
    lab.wait("both in the kernel", || wanted.iter().all(|route| routes().contains(route)));
    let shown = router.show("ip route");
    assert!(shown.contains("S>* 172.31.0.0/16 [1/0] via 10.1.0.1, eth0"), "{shown}");
    assert!(routes().contains(others), "{}", routes());
    // Until that goes ours is not in use, which is shown; then it is put there, and so is one that somebody removes.
    let rejected = "S>r 172.29.0.0/16 [1/0] unreachable (blackhole)\n  r   the kernel does not take it: somebody else's has \
                    the same metric";
    assert!(shown.contains(rejected), "{shown}");
    lab.shell("host-a", &format!("ip route delete {others}"));
    lab.wait("its place is taken", || routes().contains("blackhole 172.29.0.0/16 proto 77"));
    lab.wait("that is shown", || router.show("ip route").contains("S>* 172.29.0.0/16 [1/0]"));
    for _ in 0..3 {
        lab.shell("host-a", "ip route flush proto 77");
        lab.wait("all are there again", || {
            let routes = routes();
            ["172.29.0.0/16", "172.30.0.0/16", "172.31.0.0/16"].iter().all(|to| routes.contains(to))
        });
    }
    // One whose interface was down for a moment too short to be seen.
    lab.shell("host-a", "ip link set eth0 down; ip link set eth0 up");
    lab.wait("it is there again", || routes().contains("172.31.0.0/16 via 10.1.0.1 dev eth0 proto 77"));
    // Somebody takes its place, even in our name: that stays.
    let false_one = "172.30.0.0/16 via 10.1.0.1 dev eth0 proto 77 metric 20";
    lab.shell("host-a", &format!("ip route replace {false_one}"));
    lab.wait("that is shown", || router.show("ip route").contains("S>r 172.30.0.0/16 [1/0]"));
    lab.shell("host-a", &format!("ip route delete {false_one}"));
    lab.wait("its place is taken", || routes().contains("blackhole 172.30.0.0/16 proto 77"));
    lab.shell("host-a", &format!("ip route replace {others}"));
    lab.wait("that is shown", || router.show("ip route").contains("S>r 172.29.0.0/16 [1/0]"));
    assert!(routes().contains(others), "{}", routes());
    drop(router);
    assert!(!routes().contains("proto 77"), "{}", routes());
    assert!(routes().contains(others), "{}", routes());
}

/// `redistribute kernel` follows the kernel: routes that come and go while the router runs, and only those of the main
/// table.
#[test]
fn routes_of_others_are_followed() {
    let Some(lab) = Lab::start("routes-of-others") else { return };
    let conf = "interface eth0\n ip ospf area 0\nrouter ospf\n redistribute kernel\n redistribute static\n";
    // One of the file whose gateway the kernel does not take is not told to anybody.
    let conf = format!("ip route 172.28.0.0/16 10.1.0.255\nip route 172.27.0.0/16 10.1.0.1\n{conf}");
    lab.shell("host-a", "ip route add 172.24.0.0/16 via 10.1.0.1 table 100");
    let router = Router::start(&lab, "host-a", &conf);
    let told = |network: &str| router.show("ip ospf database external").contains(network);
    lab.wait("the route of the file", || told("172.27.0.0"));
    for _ in 0..2 {
        lab.shell("host-a", "ip route add 172.25.0.0/16 via 10.1.0.1");
        lab.wait("it is told", || told("172.25.0.0"));
        lab.shell("host-a", "ip route delete 172.25.0.0/16");
        lab.wait("it is not told", || !told("172.25.0.0"));
    }
    // Another daemon's count, and those that throw away, but not one that only ends a search.
    lab.shell(
        "host-a",
        "ip route add unreachable 172.23.0.0/16 proto bird; ip route add throw 172.22.0.0/16",
    );
    lab.wait("it is told", || told("172.23.0.0"));
    assert!(!told("172.22.0.0"), "{}", router.show("ip ospf database external"));
    assert!(!told("172.24.0.0") && !told("172.28.0.0"), "{}", router.show("ip ospf database external"));
    assert!(router.show("ip route").contains("S>r 172.28.0.0/16"), "{}", router.show("ip route"));
}
