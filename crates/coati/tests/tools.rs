//! `setkey` and `racoonctl` where things go wrong: no daemon, a dead socket, files with mistakes.

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use support::{Dir, Ran, coati};

/// Runs the program under another name.
fn called(dir: &Dir, name: &str, args: &[&str]) -> Ran {
    let link = dir.path.join(name);
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_coati"), &link).unwrap();
    }
    Command::new(link).args(args).output().unwrap().into()
}

#[test]
fn a_socket_that_is_not_there() {
    let dir = Dir::new("no-socket");
    let socket = dir.path.join("racoon.sock").display().to_string();
    for (name, args) in
        [("racoonctl", vec!["-s", &socket, "-ll", "ss", "isakmp"]), ("setkey", vec!["-s", &socket, "-D"])]
    {
        let ran = called(&dir, name, &args);
        assert_eq!(ran.code, 1, "{name}");
        ran.says(&["cannot reach a running Coati", "coati up DIR"]);
        ran.says(&[&socket, "no such socket"]);
        assert!(!ran.err.contains("Bad file descriptor"));
    }
    // One that nobody listens on any more.
    drop(UnixListener::bind(&socket).unwrap());
    called(&dir, "racoonctl", &["-s", &socket, "ss", "esp"]).says(&[&socket, "no daemon listens on it"]);
}

#[test]
fn a_socket_of_somebody_else() {
    let dir = Dir::new("other-socket");
    let socket = dir.path.join("racoon.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let somebody = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"\x08\x00\x01\x81\n").unwrap();
    });
    let ran = called(&dir, "racoonctl", &["-s", &socket.display().to_string(), "ss", "isakmp"]);
    somebody.join().unwrap();
    assert_eq!(ran.code, 1);
    ran.says(&["racoon.sock: whoever listens there is no Coati"]);
}

#[test]
fn racoonctl_without_a_daemon() {
    let dir = Dir::new("racoonctl");
    let usage = called(&dir, "racoonctl", &[]);
    assert_eq!(usage.code, 0);
    assert!(usage.out.contains("usage: racoonctl") && usage.out.contains("racoonctl -ll ss isakmp"));
    assert_eq!(coati(&["racoonctl", "--help"]).out, usage.out);
    let ran = called(&dir, "racoonctl", &["bogus"]);
    assert_eq!(ran.code, 1);
    ran.says(&["racoonctl: Invalid command [bogus]"]);
    let ran = coati(&["racoonctl", "ss"]);
    assert_eq!(ran.code, 1);
    ran.says(&["insufficient arguments", "isakmp, esp, ah or ipsec"]);
    // Every command reaches for the daemon, and says where it looked.
    let socket = dir.path.join("racoon.sock").display().to_string();
    let pair = "esp inet 192.0.2.1 198.51.100.1 gre";
    for line in [
        "reload-config",
        "rc",
        "show-schedule",
        "sc",
        "show-event",
        "se",
        "show-sa isakmp",
        "ss ipsec",
        "flush-sa isakmp",
        "fs esp",
        &format!("delete-sa {pair}"),
        &format!("es -w {pair}"),
        "vd 198.51.100.1",
        "vc 127.0.0.1",
        "gc inet 192.0.2.1 198.51.100.1",
        "lu joe",
        "status",
        "st -v -f json",
    ] {
        let words: Vec<&str> = ["-s", &socket].into_iter().chain(line.split_whitespace()).collect();
        let ran = called(&dir, "racoonctl", &words);
        assert_eq!(ran.code, 1, "{line}");
        ran.says(&[&socket, "no such socket"]);
    }
    // What is wrong with the words is said before anybody is asked.
    for (line, wanted) in [
        ("rc now", "one word too many"),
        ("vc", "VPN gateway required"),
        ("ds esp inet 192.0.2.1 198.51.100.1 grr", "unknown upper protocol grr"),
        ("es -u", "-u requires an argument"),
        ("st -f xml", "-f needs text or json"),
    ] {
        let ran = called(&dir, "racoonctl", &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.code, 1, "{line}");
        ran.says(&["racoonctl: ", wanted]);
    }
}

#[test]
fn racoon_reads_its_flags_and_files() {
    let dir = Dir::seed("racoon");
    let file = dir.path.join("racoon.conf").display().to_string();
    let ran = called(&dir, "racoon", &["-t", "-f", &file]);
    assert_eq!((ran.code, ran.out.contains("racoon.conf: no errors")), (0, true), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("remote 198.51.100.1 [500]"), "{}", ran.out);
    // -f names any file: the others are looked for beside it.
    std::fs::rename(dir.path.join("racoon.conf"), dir.path.join("ike.conf")).unwrap();
    let other = dir.path.join("ike.conf").display().to_string();
    assert_eq!(coati(&["racoon", "-t", "-f", &other]).code, 0);
    assert_eq!(called(&dir, "racoon", &["-t", "-f", &file]).code, 1);
    dir.edit("ike.conf", "exchange_mode main", "exchange_mode maim");
    for args in [vec!["-t", "-f", &other], vec!["-F", "-f", &other]] {
        let ran = called(&dir, "racoon", &args);
        assert_eq!(ran.code, 1);
        ran.says(&["ike.conf:", "maim"]);
    }
    let ran = called(&dir, "racoon", &["-V"]);
    assert!(ran.code == 0 && ran.out.contains("ipsec-tools"));
    assert_eq!(called(&dir, "racoon", &["-Z"]).code, 1);
    assert!(called(&dir, "racoon", &["--help"]).out.contains("-l /var/log/racoon.log"));
}

#[test]
fn doctor_tries_every_home_and_says_which_is_used() {
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/seed/freebsd-a");
    let ran: Ran =
        Command::new(env!("CARGO_BIN_EXE_coati")).args(["doctor", "--json", seed]).output().unwrap().into();
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let homes = report["homes"].as_array().unwrap();
    let hindrance = |name: &str| &homes.iter().find(|home| home["home"] == name).expect(name)["hindrance"];
    assert!(hindrance("embedded").is_null(), "{report}");
    assert_eq!(report["used"], "embedded");
    // The addresses of the how-to are not here.
    assert_eq!(ran.code, 1);
    let findings = report["findings"].as_array().unwrap();
    let bad: Vec<_> = findings.iter().filter(|finding| finding["state"] == "bad").collect();
    assert!(
        bad.iter().any(|finding| finding["text"] == "gre0: no interface has its own end, 192.0.2.1"),
        "{report}"
    );
    // The kernel has what it needs, or the missing module has a name.
    let xfrm = hindrance("xfrm");
    assert!(xfrm.is_null() || xfrm.as_str().is_some_and(|why| why.contains("module")), "{report}");
    let nothing = called(&Dir::new("doctor"), "coati", &["doctor", "/nonexistent"]);
    assert_eq!(nothing.code, 1);
    // Of the machine there is something to say all the same.
    assert!(
        nothing.out.contains("/nonexistent: not a folder") && nothing.out.contains("ok  embedded"),
        "{}",
        nothing.out
    );
}
