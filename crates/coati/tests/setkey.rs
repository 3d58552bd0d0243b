//! `setkey` as people type it, beside the embedded data plane on a socket, on a terminal, and without anybody.

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use coati_crypto::SeededRandom;
use coati_ipsec::Sadb;
use coati_router::admin::{AdminReply, AdminRequest};
use coati_sadb::{Direction, Policy, Reply, Request, SaState};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use support::{Dir, Ran, coati};

/// How long something may take that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who answers as the daemon does.
struct Daemon {
    dir: Dir,
    socket: String,
    sadb: Arc<Mutex<Sadb>>,
    /// What was asked, file by file.
    asked: Arc<Mutex<Vec<Vec<Request>>>>,
}

impl Daemon {
    /// The embedded data plane, or one that does whatever it is told.
    fn start(name: &str, does_anything: bool) -> Self {
        let dir = Dir::new(name);
        let socket = dir.path.join("coati.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let sadb = Arc::new(Mutex::new(Sadb::new(Box::new(SeededRandom::new(7)))));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (shared, list) = (sadb.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, list) = (shared.clone(), list.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &shared, &list, does_anything));
            }
        });
        Self { dir, socket: socket.display().to_string(), sadb, asked }
    }

    fn setkey(&self, args: &[&str]) -> Ran {
        coati(&[&["setkey", "-s", &self.socket][..], args].concat())
    }

    /// `setkey -f` of a file with this text.
    fn file(&self, text: &str, args: &[&str]) -> Ran {
        let file = self.dir.path.join("setkey.conf");
        fs::write(&file, text).unwrap();
        self.setkey(&[&["-f", &file.display().to_string()][..], args].concat())
    }

    fn policies(&self) -> Vec<Policy> {
        self.sadb.lock().unwrap().policies()
    }
}

fn serve(mut stream: UnixStream, sadb: &Mutex<Sadb>, asked: &Mutex<Vec<Vec<Request>>>, does_anything: bool) {
    let reader = BufReader::new(stream.try_clone().unwrap());
    for line in reader.lines() {
        let Ok(line) = line else { return };
        let (now, wall) = (Instant::now(), 1_764_000_000);
        let mut sadb = sadb.lock().unwrap();
        let reply = match serde_json::from_str(&line).unwrap() {
            AdminRequest::Sadb(request) => AdminReply::Sadb(sadb.request(now, wall, request)),
            AdminRequest::SadbFile(list) => {
                asked.lock().unwrap().push(list.clone());
                AdminReply::SadbFile(match sadb.check(now, wall, &list) {
                    _ if does_anything => vec![Reply::Done; list.len()],
                    Ok(()) => sadb.requests(now, wall, list),
                    Err(refused) => refused,
                })
            }
            other => panic!("{other:?}"),
        };
        drop(sadb);
        let text = serde_json::to_string(&reply).unwrap();
        if stream.write_all(format!("{text}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// `setkey` with a text on standard input.
fn with_input(args: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_coati"))
        .arg("setkey")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

const POLICIES: &str = "flush;\nspdflush;\n\
    spdadd 192.0.2.1 198.51.100.1 gre -P out ipsec esp/transport//unique;\n\
    spdadd 198.51.100.1 192.0.2.1 gre -P in ipsec esp/transport//unique;\n";
const KEYS: &str = "add 192.0.2.1 198.51.100.1 esp 0x1000 -m transport -lh 3600 -E aes-cbc \"sixteen byte key\" \
    -A hmac-sha256 \"thirty-two bytes of text in here\";\n";

#[test]
fn a_file_is_read_before_anything_is_done() {
    let dir = Dir::seed("setkey");
    let file = dir.path.join("setkey.conf").display().to_string();
    // Without a daemon, a file can still be checked.
    assert_eq!(coati(&["setkey", "-n", "-f", &file]).code, 0);
    dir.edit("setkey.conf", "gre -P in", "gre -P inn");
    for args in [vec!["setkey", "-f", &file], vec!["setkey", "-nf", &file]] {
        let ran = coati(&args);
        assert_eq!(ran.code, 1);
        ran.says(&["setkey.conf,4: unknown direction `inn` at `inn'"]);
        ran.says(&["setkey.conf:4:", "error: unknown direction `inn`"]);
        ran.says(&["did you mean `in`?"]);
        assert_eq!(ran.err.contains("nothing was changed"), args.len() == 3 && args[1] == "-f");
    }
    let ran = coati(&["setkey", "-nf", &file, "--dialect", "freebsd"]);
    ran.says(&["line 4: unknown direction `inn` at [inn]"]);
    ran.says(&["parse failed, line 4."]);
    let ran = coati(&["setkey", "-nf", &file, "--json"]);
    let remarks: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((remarks[0]["line"].as_u64(), remarks[0]["severity"].as_str()), (Some(4), Some("error")));
    let ran = coati(&["setkey", "-f", "/nonexistent/setkey.conf"]);
    assert_eq!(ran.code, 1);
    ran.says(&["setkey: /nonexistent/setkey.conf: No such file"]);
}

#[test]
fn the_command_line() {
    let ran = coati(&["setkey", "-Z"]);
    assert_eq!(ran.code, 1);
    ran.says(&["unknown option -Z"]);
    // What is wrong is not lost among all that there is.
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let ran = coati(&["setkey", "-D", "--dialect", "bsd"]);
    assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{}", ran.err);
    assert_eq!(coati(&["setkey"]).code, 1);
    for help in ["-h", "-?", "--help"] {
        let help = coati(&["setkey", help]);
        assert!(help.code == 0 && help.out.contains("spdadd") && help.out.contains("Examples:"));
    }
    let version = coati(&["setkey", "-V"]);
    assert!(version.code == 0 && version.out.starts_with("setkey of Coati "), "{}", version.out);
    // Neither a daemon nor a terminal is needed for what asks nobody anything.
    let ran = with_input(&["-c"], "help; # and no more\n");
    assert!(ran.code == 0 && ran.out.contains("spdadd | spdupdate"), "{}{}", ran.out, ran.err);
    assert_eq!(with_input(&["-c"], "exit; flush;\n").code, 0);
}

/// One line that the data plane can never do keeps all of them from being done: the policies from before stay.
#[test]
fn nothing_is_flushed_for_a_file_that_cannot_be_done() {
    let daemon = Daemon::start("guard", false);
    assert_eq!(daemon.file(POLICIES, &[]).code, 0);
    let before = daemon.policies();
    assert_eq!(before.len(), 2);
    for (line, wanted) in [
        ("add 192.0.2.1 198.51.100.1 esp 0x1000 -E aes-cbc \"sixteen byte key\";", "can be forged: give -A"),
        (
            "spdadd 10.0.0.0/24 10.1.0.0/16 any -P out ipsec esp/tunnel/me-any/require;",
            "looks for no end of a tunnel",
        ),
        (
            "spdadd 192.0.2.1 198.51.100.1 any -P out ipsec ah/transport ah/transport ah/transport ah/transport \
             ah/transport ah/transport ah/transport;",
            "6 protocols at the most",
        ),
        ("spdadd 192.0.2.1 198.51.100.1 any -P fwd none;", "fwd policies are for the Linux kernel"),
        (
            "add 192.0.2.1 198.51.100.1 esp 0x1000 -E blowfish-cbc \"sixteen byte key\";",
            "unsupported algorithm `blowfish-cbc`",
        ),
        ("spdadd 192.0.2.1 198.51.100.1 gre -P outt none;", "unknown direction `outt`"),
    ] {
        let ran = daemon.file(&format!("flush;\nspdflush;\n{line}\nspdadd ::/0 ::/0 any -P in none;\n"), &[]);
        assert_eq!(ran.code, 1, "{line}");
        ran.says(&["setkey.conf:3:", "error: ", wanted]);
        ran.says(&["setkey.conf,3: "]);
        ran.says(&["nothing was changed"]);
        assert!(!ran.err.contains("setkey.conf:1:") && !ran.err.contains("setkey.conf:4:"), "{}", ran.err);
        assert_eq!(daemon.policies(), before, "{line}");
    }
}

/// `-n` says what loading will do: everywhere, or in one data plane.
#[test]
fn what_is_checked_is_what_is_loaded() {
    let daemon = Daemon::start("verdict", false);
    // There already from the same file: that command fails, the others are done.
    let twice = "spdadd 192.0.2.1 192.0.2.2 gre -P out none;\nspdadd 192.0.2.1 192.0.2.2 47 -P out discard;\n\
                 spdadd 192.0.2.1 192.0.2.2 gre -P in none;\n";
    for args in [&["-n"][..], &["-n", "--dataplane", "embedded"], &[]] {
        let ran = daemon.file(twice, args);
        assert_eq!(ran.code, 1, "{args:?}");
        ran.says(&["setkey.conf:2:1: warning: the policy of line 1 is for these packets"]);
        assert_eq!(ran.err.contains("setkey.conf,2: File exists"), args.is_empty(), "{}", ran.err);
    }
    assert_eq!(daemon.policies().len(), 2);
    // Refused by one data plane, taken by the others.
    let forged = "add 192.0.2.1 198.51.100.1 esp 0x1000 -E aes-cbc \"sixteen byte key\";\n";
    let ran = daemon.file(forged, &["-n"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&[
        "setkey.conf:1:1: warning: refused with --dataplane embedded: aes-cbc without authentication",
    ]);
    let ran = daemon.file(forged, &["-n", "--dataplane", "embedded"]);
    assert_eq!(ran.code, 1);
    ran.says(&["setkey.conf:1:1: error: aes-cbc without authentication can be forged"]);
    let ran = daemon.file(forged, &["-n", "--dataplane=xfrm"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(daemon.file(forged, &[]).code, 1);
    // What hardware is to do, this data plane does itself.
    let card = KEYS.replace(" -m ", " -hwif mce0 -m ");
    let ran = daemon.file(&card, &["-n", "--dataplane", "embedded"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&["setkey.conf:1:1: warning: the embedded data plane gives nothing to hardware"]);
    let ran = daemon.file(&card, &["-n", "--dataplane", "xfrm"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(daemon.file(&card, &[]).code, 0);
    let shown = daemon.setkey(&["-D", "--commands"]);
    assert!(shown.out.contains(" esp 0x1000 ") && !shown.out.contains("-hwif"), "{}", shown.out);
    let both = daemon.file(POLICIES, &["-n"]);
    assert_eq!((both.code, both.err.as_str()), (0, ""));
}

/// No file at all, and what has no end.
#[test]
fn what_has_no_end_is_not_read_to_it() {
    for args in [&["setkey", "-n", "-f", "/dev/zero"][..], &["setkey", "/dev/zero"]] {
        let ran = coati(args);
        assert_eq!(ran.code, 1, "{args:?}");
        ran.says(&["setkey: /dev/zero: this has more than 64 MiB"]);
    }
    let from_pipe = with_input(&["-n", "-f", "/dev/stdin"], "flush;\n");
    assert_eq!((from_pipe.code, from_pipe.err.as_str()), (0, ""));
}

/// What fails only because of what is in the tables keeps the rest from nothing.
#[test]
fn a_refused_command_is_named_with_its_place_and_the_rest_is_done() {
    let daemon = Daemon::start("refused", false);
    let text = "flush;\n  delete 192.0.2.1 192.0.2.2 esp 0x1000;\nspdflush;\n\
                spddelete 192.0.2.1 192.0.2.2 gre -P in;\nspdadd 192.0.2.1 192.0.2.2 gre -P in none;\n";
    let ran = daemon.file(text, &[]);
    assert_eq!(ran.code, 1);
    ran.says(&["setkey.conf,2: No entry"]);
    ran.says(&["setkey.conf:2:3: error: no such SA"]);
    ran.says(&["setkey -D lists"]);
    // Once, not for what goes with it on Linux too.
    assert_eq!(ran.err.matches("setkey.conf,4: No entry").count(), 1, "{}", ran.err);
    assert_eq!(daemon.policies().len(), 1);
    let ran = daemon.file("spdadd 192.0.2.1 192.0.2.2 gre -P in none;", &["--dialect", "freebsd"]);
    assert_eq!(ran.code, 1);
    ran.says(&["The result of line 1: File exists."]);
    ran.says(&["write update or spdupdate"]);
}

#[test]
fn policies_for_what_is_forwarded_where_there_are_such() {
    let directions = |daemon: &Daemon| -> Vec<Direction> {
        let asked = daemon.asked.lock().unwrap();
        let policy = |request: &Request| match request {
            Request::SpdAdd(policy) => Some(policy.direction),
            _ => None,
        };
        asked.last().unwrap().iter().filter_map(policy).collect()
    };
    use Direction::{Fwd, In, Out};
    let linux = Daemon::start("linux", true);
    assert_eq!(linux.file(POLICIES, &["--dialect", "ipsec-tools"]).code, 0);
    assert_eq!(directions(&linux), [Out, In, Fwd]);
    assert_eq!(linux.file(POLICIES, &["--dialect", "ipsec-tools", "-k"]).code, 0);
    assert_eq!(directions(&linux), [Out, In]);
    assert_eq!(linux.file(POLICIES, &["--dialect", "freebsd"]).code, 0);
    assert_eq!(directions(&linux), [Out, In]);
    // What is written itself stays the only one.
    let text = POLICIES.to_owned() + "spdadd 198.51.100.1 192.0.2.1 gre -P fwd ipsec esp/transport//use;";
    assert_eq!(linux.file(&text, &["--dialect", "ipsec-tools"]).code, 0);
    assert_eq!(directions(&linux), [Out, In, Fwd]);
    // The embedded data plane has none, and needs none.
    let embedded = Daemon::start("embedded", false);
    let ran = embedded.file(POLICIES, &["--dialect", "ipsec-tools", "-r"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!((directions(&embedded), embedded.policies().len()), (vec![Out, In], 2));
}

#[test]
fn dumps() {
    let daemon = Daemon::start("dumps", false);
    let show = |args: &[&str]| {
        let ran = daemon.setkey(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        ran.out
    };
    assert_eq!(show(&["-D"]), "No SAD entries.\n");
    assert_eq!(show(&["-DP"]), "No SPD entries.\n");
    assert_eq!(daemon.file(&(POLICIES.to_owned() + KEYS), &[]).code, 0);
    let text = show(&["-DP", "--dialect", "ipsec-tools"]);
    let wanted =
        "192.0.2.1 198.51.100.1 gre\n\tout prio def ipsec\n\tesp/transport//unique#16384\n\tcreated: ";
    assert!(text.starts_with(wanted), "{text}");
    let text = show(&["-DP", "--dialect", "ipsec-tools-bsd"]);
    assert!(text.starts_with(&wanted.replace("prio def ", "")), "{text}");
    let text = show(&["-gDP", "--dialect", "freebsd"]);
    assert!(text.starts_with("192.0.2.1[any] 198.51.100.1[any] gre\n\tout ipsec\n"), "{text}");
    assert!(text.contains(" scope=global \n\trefcnt=1\n"), "{text}");
    assert_eq!(show(&["-tDP", "--dialect", "freebsd"]), "No SPD entries.\n");

    let text = show(&["-D", "--dialect", "ipsec-tools"]);
    assert!(
        text.starts_with("192.0.2.1 198.51.100.1 \n\tesp mode=transport spi=4096(0x00001000) "),
        "{text}"
    );
    assert!(
        text.contains("\n\tE: aes-cbc  73697874 65656e20 62797465 206b6579\n\tA: hmac-sha256  "),
        "{text}"
    );
    let masked = show(&["-D", "--mask-keys", "--dialect", "freebsd"]);
    assert!(masked.contains("\n\tE: aes-cbc  (128 bits, hidden)\n\tA: hmac-sha2-256  (256 bits"), "{masked}");
    assert!(show(&["-aDp", "--dialect", "ipsec-tools"]).starts_with("192.0.2.1[0] 198.51.100.1[0] \n"));
    let json: serde_json::Value = serde_json::from_str(&show(&["-D", "--json", "--mask-keys"])).unwrap();
    assert_eq!(json["sas"]["sas"][0]["enc_key"], "(128 bits, hidden)");

    // What is printed as commands brings the same back.
    let commands = show(&["-DP", "--commands"]) + &show(&["-D", "--commands"]);
    let before = (daemon.policies(), show(&["-D", "--commands"]));
    let text = "flush;\nspdflush;\n".to_owned() + &commands;
    assert_eq!(daemon.file(&text, &[]).code, 0, "{text}");
    assert_eq!(show(&["-D", "--commands"]), before.1);
    let selectors =
        |policies: &[Policy]| policies.iter().map(|it| (it.selector, it.direction)).collect::<Vec<_>>();
    assert_eq!(selectors(&daemon.policies()), selectors(&before.0));

    assert_eq!(show(&["-F"]), "");
    assert_eq!(show(&["-D"]), "No SAD entries.\n");
    assert_eq!((show(&["-FP"]), daemon.policies().len()), (String::new(), 0));
}

#[test]
fn commands_that_show_something_and_what_crosses() {
    let daemon = Daemon::start("shows", false);
    let text = KEYS.to_owned()
        + "getspi 198.51.100.1 192.0.2.1 esp 0x7777;\ndump;\nget 192.0.2.1 198.51.100.1 esp 0x1000;\n\
           deleteall localhost 127.0.0.1 esp;\n";
    let ran = daemon.file(&text, &["-v"]);
    // Two SAs in the dump, one of them again.
    assert_eq!(ran.out.matches("\tsadb_seq=").count(), 3, "{}", ran.out);
    assert!(ran.out.contains("state=larval"), "{}", ran.out);
    // Each message and its answer: SADB_ADD first, with its key.
    assert!(ran.out.starts_with("sadb_msg{ version=2 type=3 errno=0 satype=3\n"), "{}", ran.out);
    assert!(ran.out.contains("sadb_key{ bits=128 reserved=0\n  key= 73697874 65656e20"), "{}", ran.out);
    let masked = daemon.file(&text, &["-v", "--mask-keys"]);
    assert!(masked.out.contains("type=3 ") && !masked.out.contains("73697874"), "{}", masked.out);
    // The name was found, and there is nothing to delete.
    ran.says(&["setkey.conf,5: No entry"]);
    assert!(ran.out.contains("sadb_msg{ version=2 type=4 errno=2 satype=3\n"), "{}", ran.out);
    let sas = daemon.sadb.lock().unwrap().request(Instant::now(), 0, Request::Dump(None));
    let Reply::Sas { sas } = sas else { panic!("{sas:?}") };
    assert_eq!(sas.iter().map(|sa| sa.state).collect::<Vec<_>>(), [SaState::Mature, SaState::Larval]);
}

#[test]
fn a_line_for_each_sa_again_and_again() {
    let daemon = Daemon::start("watch", false);
    assert_eq!(daemon.file(KEYS, &[]).code, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_coati"))
        .args(["setkey", "-s", &daemon.socket, "-lD"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(3).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines[0], "time p   s spi      ltime   src -> dst");
    for line in &lines[1..] {
        let (minutes, rest) = line.split_at(4);
        assert!(minutes.bytes().all(|byte| byte.is_ascii_digit()), "{line}");
        assert!(
            rest.starts_with(" esp M 00001000 ") && rest.ends_with("192.0.2.1[0] -> 198.51.100.1[0]"),
            "{line}"
        );
    }
}

/// A terminal with setkey on the other side.
struct Terminal {
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    seen: String,
    child: std::process::Child,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let end = || -> OwnedFd { File::options().read(true).write(true).open(&name).unwrap().into() };
        let child = Command::new(env!("CARGO_BIN_EXE_coati"))
            .arg("setkey")
            .args(args)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let mut screen = keyboard.try_clone().unwrap();
        let (shown, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes) {
                if count == 0 || shown.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, screen: receiver, seen: String::new(), child }
    }

    /// Waits until this is shown, behind what was waited for before.
    fn wait(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            let more = self.screen.recv_timeout(left);
            let more = more.unwrap_or_else(|_| panic!("no `{text}` in `{}`", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
    }

    /// Types at the next prompt.
    fn enter(&mut self, keys: &str) {
        self.wait("setkey> ");
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
}

#[test]
fn on_a_terminal_lines_are_edited_and_come_again() {
    let daemon = Daemon::start("terminal", false);
    let mut terminal = Terminal::start(&["-s", &daemon.socket, "-c"]);
    // Two lines are one command, and a wrong letter is taken back.
    terminal.enter("spdadd 192.0.2.1 192.0.2.2 grx\u{8}e\r-P in none; spddump;\r");
    terminal.wait("192.0.2.1 192.0.2.2 gre\r\n\tin ");
    terminal.wait("refcnt=1");
    // The command before, once more: it is there already.
    terminal.enter("\u{1b}[A\r");
    terminal.wait("stdin,1: File exists");
    // A mistake ends nothing.
    terminal.enter("flus;\r");
    terminal.wait("unknown command `flus`");
    terminal.enter("help\r");
    terminal.wait("Each command ends with");
    // A line that is given up, and a word that is completed.
    terminal.enter("flush\u{3}");
    terminal.enter("spddu\t;\r");
    terminal.wait("192.0.2.1 192.0.2.2 gre\r\n\tin ");
    terminal.enter("bye\r");
    assert!(terminal.child.wait().unwrap().success());
    assert_eq!(daemon.policies().len(), 1);
    // The first time is for `in` and `fwd`, of which there is none here.
    let asked = daemon.asked.lock().unwrap();
    assert!(asked.iter().flatten().all(|request| !matches!(request, Request::Flush(_))), "{asked:?}");
}
