//! Dumps beside those of a real racoon, and lines that were read off both setkeys.

use coati_config::Source;
use coati_config::setkey::parse;
use coati_sadb::{Level, Offload, PolicyId, ReqId};

use super::*;

use chrono::{Local, NaiveDateTime, TimeZone};

const FORM: Form = Form { dialect: Dialect::IpsecTools, ports: false, mask_keys: false, now: 0, pid: 7 };

fn sa(text: &str) -> Sa {
    match parse(&Source::new("t", text)).unwrap().remove(0).request {
        Request::Add(sa) => *sa,
        other => panic!("{other:?}"),
    }
}

fn policies(text: &str) -> Vec<Policy> {
    let policy = |statement: coati_config::setkey::Statement| match statement.request {
        Request::SpdAdd(policy) => *policy,
        other => panic!("{other:?}"),
    };
    parse(&Source::new("t", text)).unwrap().into_iter().map(policy).collect()
}

/// Unix seconds of a time as dumps print it.
fn seconds(text: &str) -> u64 {
    let time = NaiveDateTime::parse_from_str(text.trim(), "%b %e %H:%M:%S %Y").unwrap();
    Local.from_local_datetime(&time).unwrap().timestamp().try_into().unwrap()
}

/// The SA that one record of a dump shows, and the time at which it was shown.
fn sa_of(record: &[&str]) -> (Sa, u64) {
    let between = |line: usize, before: &str, after: &str| {
        let rest = record[line].split_once(before).unwrap().1;
        rest.split(after).next().unwrap().to_owned()
    };
    let number =
        |line: usize, before: &str, after: &str| between(line, before, after).parse::<u64>().unwrap();
    let ends = record[0].replace("[0]", "");
    let (source, destination) = ends.trim().split_once(' ').unwrap();
    let key = |line: usize, name: &str| between(line, name, "\n").replace(' ', "");
    let text = format!(
        "add {source} {destination} esp {} -m transport -u {} -r {} -lh {} -ls {} -E aes-cbc 0x{} -A hmac-sha1 0x{};",
        between(1, "spi=", "("),
        between(1, "reqid=", "("),
        between(4, "replay=", " "),
        between(6, "hard: ", "("),
        between(6, "soft: ", "("),
        key(2, "aes-cbc"),
        key(3, "hmac-sha1"),
    );
    let statements = parse(&Source::new("golden", text)).unwrap();
    let Request::Add(sa) = &statements[0].request else { panic!() };
    let mut sa = (**sa).clone();
    sa.usage.added = seconds(&between(5, "created: ", "\t"));
    sa.usage.used = seconds(&between(7, "last: ", "\t"));
    sa.usage.bytes = number(8, "current: ", "(");
    sa.usage.packets = number(9, "allocated: ", "\t");
    (sa, seconds(&between(5, "current: ", "\n")))
}

/// Every SA of a real racoon's dumps, read and printed again, character by character.
#[test]
fn sas_as_ipsec_tools_prints_them() {
    for (golden, ports) in [
        (include_str!("../../../golden/racoon/setkey-a-D.txt"), false),
        (include_str!("../../../golden/racoon/setkey-a-Dp.txt"), true),
        (include_str!("../../../golden/racoon/racoonctl-a-ss_esp.txt"), false),
    ] {
        let lines: Vec<&str> = golden.lines().collect();
        let (sas, times): (Vec<Sa>, Vec<u64>) = lines.chunks(11).map(sa_of).unzip();
        assert_eq!(sas.len(), 4);
        let pid = lines[10].split("pid=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let form = Form { now: times[0], pid, ports, ..FORM };
        assert_eq!(form.sas(&sas), golden);
        assert!(!Form { mask_keys: true, ..form }.sas(&sas).contains("0834acab"));
    }
    assert_eq!(FORM.sas(&[]), include_str!("../../../golden/racoon/racoonctl-a-ss_ah.txt"));
}

/// What ipsec-tools' pfkey_dump.c prints for an SA behind a NAT.
#[test]
fn an_sa_inside_udp() {
    let golden: Vec<&str> = include_str!("../../../golden/racoon/setkey-a-D.txt").lines().take(11).collect();
    let (mut sa, now) = sa_of(&golden);
    let (from, to) = (sa.id.source, sa.id.destination);
    let original = Some("10.9.8.7".parse().unwrap());
    sa.nat_t = Some(coati_sadb::NatT {
        source_port: 4500,
        destination_port: 24_500,
        original,
        non_ike_marker: false,
    });
    let text = Form { now, ..FORM }.sas(&[sa.clone()]);
    let start = format!("{from}[4500] {to}[24500] \n\tesp-udp mode=transport spi=");
    assert!(text.starts_with(&start), "{text}");
    assert_eq!(text.lines().nth(2), Some("\tNAT OA=10.9.8.7"));
    let text = Form { dialect: Dialect::FreeBsd, now, ..FORM }.sas(&[sa]);
    assert_eq!(text.lines().next(), Some(format!("{from}[4500] {to}[24500]").as_str()));
    assert_eq!(text.lines().nth(2), Some("\tNAT: OAI=10.9.8.7"));
}

/// What ipsec-tools' pfkey_dump.c prints for IPComp: one line for the algorithm and what comes after it.
#[test]
fn an_sa_that_compresses() {
    let text = "add 192.0.2.1 192.0.2.2 ipcomp 0x1a2b -m transport -u 7 -C deflate;";
    let Request::Add(sa) = parse(&Source::new("t", text)).unwrap().remove(0).request else { panic!() };
    let text = FORM.sas(&[*sa]);
    assert!(
        text.starts_with(
            "192.0.2.1 192.0.2.2 \n\tipcomp mode=transport spi=6699(0x00001a2b) reqid=7(0x00000007)\n\
             \tC: deflate \tseq=0x00000000 replay=0 flags=0x00000000 state=mature \n\tcreated: "
        ),
        "{text}"
    );
}

/// The policies of a real dump, except those of sockets, with and without `-p`.
#[test]
fn policies_as_ipsec_tools_prints_them() {
    for (golden, ports, pid) in [
        (include_str!("../../../golden/racoon/setkey-a-DP.txt"), false, 1020),
        (include_str!("../../../golden/racoon/setkey-a-DPp.txt"), true, 1023),
    ] {
        let records =
            golden.split_inclusive("\trefcnt=1\n").flat_map(|it| it.split_inclusive("\trefcnt=2\n"));
        let wanted: Vec<String> = records
            .filter(|record| !record.contains("socket"))
            .map(|record| record.replace("refcnt=2", "refcnt=1"))
            .collect();
        let text = "spdadd 192.0.2.2 192.0.2.1 gre -P fwd ipsec esp/transport//require;\
                    spdadd 192.0.2.2 192.0.2.1 gre -P in ipsec esp/transport//unique;\
                    spdadd 192.0.2.1 192.0.2.2 gre -P out ipsec esp/transport//unique;";
        let shown = [(18, None, None, 3), (8, Some(16385), Some("31"), 4), (1, Some(16384), Some("25"), 0)];
        assert_eq!(wanted.len(), shown.len());
        for ((mut policy, wanted), (spid, reqid, used, sequence)) in
            policies(text).into_iter().zip(wanted).zip(shown)
        {
            policy.id = PolicyId(spid);
            if let (Action::Ipsec(rules), Some(reqid)) = (&mut policy.action, reqid) {
                rules[0].level = Level::Unique(ReqId(reqid));
            }
            policy.usage.added = seconds("Nov 23 20:44:21 2026");
            policy.usage.used = used.map_or(0, |used| seconds(&format!("Nov 23 20:44:{used} 2026")));
            let text = Form { ports, pid, ..FORM }.policy(&policy, Tail { sequence, references: 1 });
            assert_eq!(text, wanted);
        }
    }
    assert_eq!(FORM.policies(&[]), "No SPD entries.\n");
}

/// Lines of dumps that were read off ipsec-tools, and what FreeBSD's makes of the same policies.
#[test]
fn selectors_and_rules_in_each_dialect() {
    use Dialect::{FreeBsd, IpsecTools, IpsecToolsBsd};
    for (text, dialect, wanted) in [
        (
            "192.0.2.1 192.0.2.2 gre -P out ipsec esp/transport//unique:7",
            IpsecTools,
            "192.0.2.1 192.0.2.2 gre\n\tout prio def ipsec\n\tesp/transport//unique:7\n",
        ),
        (
            "192.0.2.1 192.0.2.2 gre -P out ipsec esp/transport//unique:7",
            IpsecToolsBsd,
            "192.0.2.1 192.0.2.2 gre\n\tout ipsec\n\tesp/transport//unique:7\n",
        ),
        (
            "192.0.2.1 192.0.2.2 gre -P out ipsec esp/transport//unique:7",
            FreeBsd,
            "192.0.2.1[any] 192.0.2.2[any] gre\n\tout ipsec\n\tesp/transport//unique:7\n",
        ),
        (
            "192.0.2.1 192.0.2.2 gre 1234 -P in prio 100 ipsec esp/transport//unique:7",
            IpsecTools,
            "192.0.2.1 192.0.2.2 gre 1234\n\tin prio def + 100 ipsec\n\tesp/transport//unique:7\n",
        ),
        (
            "10.0.0.0/24 10.1.0.0/16 any -P out prio low - 5 ipsec esp/tunnel/192.0.2.1-192.0.2.2/require",
            IpsecTools,
            "10.0.0.0/24[any] 10.1.0.0/16[any] 255\n\tout prio low - 5 ipsec\n\tesp/tunnel/192.0.2.1-192.0.2.2/require\n",
        ),
        (
            "10.0.0.0/24 10.1.0.0/16 any -P out none",
            FreeBsd,
            "10.0.0.0/24[any] 10.1.0.0/16[any] any\n\tout none\n",
        ),
        (
            "10.0.0.0/24[80] 10.1.0.0/16 tcp -P in prio high ipsec esp/tunnel/192.0.2.1-192.0.2.2/require ah/transport//use",
            IpsecTools,
            "10.0.0.0/24[80] 10.1.0.0/16[any] tcp\n\tin prio high ipsec\n\tesp/tunnel/192.0.2.1-192.0.2.2/require\n\tah/transport//use\n",
        ),
        (
            "10.0.0.0/24[80] 10.1.0.0/16 tcp -P in none",
            FreeBsd,
            "10.0.0.0/24[80] 10.1.0.0/16[any] tcp\n\tin none\n",
        ),
        ("::/0 ::/0 icmp6 135,0 -P in none", IpsecTools, "::/0 ::/0 ipv6-icmp 135,0\n\tin prio def none\n"),
        ("::/0 ::/0 icmp6 135,0 -P in none", FreeBsd, "::/0 ::/0 icmp6 135,0\n\tin none\n"),
        (
            "0.0.0.0/0 0.0.0.0/0 icmp 8,0 -P out discard",
            IpsecTools,
            "0.0.0.0/0 0.0.0.0/0 icmp 8,0\n\tout prio def discard\n",
        ),
        (
            "0.0.0.0/0 0.0.0.0/0 icmp 8,0 -P out discard",
            FreeBsd,
            "0.0.0.0/0[8] 0.0.0.0/0[any] icmp\n\tout discard\n",
        ),
        (
            "0.0.0.0/0[500] 0.0.0.0/0[500] udp -P fwd none",
            IpsecTools,
            "0.0.0.0/0[500] 0.0.0.0/0[500] udp\n\tfwd prio def none\n",
        ),
        (
            "192.0.2.1 192.0.2.2 ip4 -P in none",
            IpsecToolsBsd,
            "192.0.2.1[any] 192.0.2.2[any] ipencap\n\tin none\n",
        ),
        ("192.0.2.1 192.0.2.2 ip4 -P in none", FreeBsd, "192.0.2.1[any] 192.0.2.2[any] ip4\n\tin none\n"),
        ("192.0.2.1 192.0.2.2 99 -P in none", FreeBsd, "192.0.2.1[any] 192.0.2.2[any] 99\n\tin none\n"),
    ] {
        let shown = Form { dialect, ..FORM }.policies(&policies(&format!("spdadd {text};")));
        let scope = if dialect == FreeBsd { " scope=global " } else { "" };
        let blank = " ".repeat(20);
        let rest = format!(
            "\tcreated: {blank}  lastused: {blank}\n\tlifetime: 0(s) validtime: 0(s)\n\tspid=0 seq=0 pid=7{scope}\n\trefcnt=1\n"
        );
        assert_eq!(shown, wanted.to_owned() + &rest, "{text}");
    }
    let form = Form { ports: true, ..FORM };
    let text = "spdadd ::/0 ::/0 any -P out ipsec esp/tunnel/2001:db8::1-2001:db8::2/use;";
    assert!(form.policies(&policies(text)).contains("\tesp/tunnel/2001:db8::1[0]-2001:db8::2[0]/use\n"));
}

#[test]
fn an_sa_in_each_dialect() {
    let key = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let long = sa(&format!(
        "add 192.0.2.1 192.0.2.2 esp 0x1000 -m tunnel -r 8 -E aes-cbc {key} -A hmac-sha512 {key}{};",
        &key[2..]
    ));
    let wrapped = " 00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f";
    let text = FORM.sas(std::slice::from_ref(&long));
    let wanted = format!(
        "192.0.2.1 192.0.2.2 \n\tesp mode=tunnel spi=4096(0x00001000) reqid=0(0x00000000)\n\
         \tE: aes-cbc {wrapped}\n\tA: hmac-sha512 {wrapped}\n{wrapped}\n\
         \tseq=0x00000000 replay=8 flags=0x00000000 state=mature \n"
    );
    assert!(text.starts_with(&wanted), "{text}");
    let text = Form { dialect: Dialect::FreeBsd, ..FORM }.sas(std::slice::from_ref(&long));
    let wanted = wanted.replace("192.0.2.2 \n", "192.0.2.2\n").replace("hmac-sha512", "hmac-sha2-512");
    assert!(text.starts_with(&wanted), "{text}");
    let form = Form { ports: true, ..FORM };
    assert!(form.sas(std::slice::from_ref(&long)).starts_with("192.0.2.1[0] 192.0.2.2[0] \n"));
    // SHA-1 is the same in both.
    let text = "add 192.0.2.1 192.0.2.2 ah 0x1000 -A hmac-sha1 \"twenty bytes of text\";";
    let text = Form { dialect: Dialect::FreeBsd, ..FORM }.sas(&[sa(text)]);
    assert!(text.contains("\tA: hmac-sha1  7477656e"), "{text}");
}

#[test]
fn a_line_for_each_sa() {
    let mut sas = vec![
        sa("add 192.0.2.1 192.0.2.2 esp 0x1000 -lh 3600 -A hmac-sha1 \"twenty bytes of text\";"),
        sa(
            "add 192.0.2.1[4500] 192.0.2.2[30001] esp-udp 0xabcdef -lh 900 -A hmac-sha1 \"twenty bytes of text\";",
        ),
        sa("add 2001:db8::1 2001:db8::2 ipcomp 0x1000 -C deflate;"),
    ];
    sas[1].state = SaState::Dying;
    sas[1].usage.added = seconds("Nov 23 20:44:21 2026");
    let now = sas[1].usage.added + 12;
    assert_eq!(
        Form { now, ..FORM }.short(&sas),
        "4433 esp M 00001000 big/big 192.0.2.1[0] -> 192.0.2.2[0]\n\
         4433 esp D 00abcdef  12/900 192.0.2.1[4500] -> 192.0.2.2[30001]\n\
         4433 #9  M 00001000 big/0   2001:db8::1[0] -> 2001:db8::2[0]\n"
    );
}

/// What `--commands` prints is read as what it was printed of; `--mask-keys` hides them everywhere.
#[test]
fn commands_and_json() {
    let texts = [
        "add 192.0.2.1[4500] 192.0.2.2[30001] esp-udp 10.1.2.3 0x1000 -m transport -u 7 -r 4 -lh 900 -ls 720 -bh 5 -E aes-cbc \
         0x7369787465656e2062797465206b6579 -A hmac-sha1 0x7477656e7479206279746573206f662074657874;",
        "add 192.0.2.1 192.0.2.2 ipcomp 0x1000 -C deflate;",
    ];
    let sas: Vec<Sa> = texts.iter().map(|text| sa(text)).collect();
    let printed = FORM.sa_commands(&sas);
    let again: Vec<Sa> = printed.lines().map(sa).collect();
    assert_eq!(again, sas);
    let card = |inbound| Some(Offload { interface: "mce0".to_owned(), inbound });
    for (inbound, line) in [(None, ""), (Some(true), " dir in"), (Some(false), " dir out")] {
        let sa = Sa { offload: card(inbound), ..sas[0].clone() };
        let text = FORM.sa(&sa, Tail { sequence: 0, references: 0 });
        assert!(text.contains(&format!("\n\toffload: dev mce0{line}\n\tseq=")), "{text}");
        assert!(FORM.sa_commands(&[sa]).contains(" -hwif mce0 "));
    }
    let masked = Form { mask_keys: true, ..FORM };
    let hidden = masked.sa_commands(&sas);
    assert!(hidden.contains("-E aes-cbc KEY -A hmac-sha1 KEY;\n") && hidden.contains(" 0x1000 "), "{hidden}");
    assert!(hidden.starts_with("# The keys are hidden") && !printed.contains('#'), "{hidden}");
    let error = parse(&Source::new("t", hidden)).unwrap_err();
    assert_eq!((error.place().line, error.message.as_str()), (2, "this is not a key"));
    let reply = Reply::Sas { sas };
    assert!(FORM.json(&reply).unwrap().contains("7477656e7479206279746573206f662074657874"));
    let json = masked.json(&reply).unwrap();
    assert!(json.contains("\"auth_key\":\"(160 bits, hidden)\"") && !json.contains("7477656e"), "{json}");
    let text = "spdadd 10.0.0.0/24[80] 10.1.0.0/16 tcp -P in prio high ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;\n";
    assert_eq!(FORM.policy_commands(&policies(text)), text);
}
