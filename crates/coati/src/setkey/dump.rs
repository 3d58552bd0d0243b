//! `setkey -D` and `setkey -DP`, character by character as ipsec-tools prints them (pfkey_dump of libipsec).

use std::fmt::Write;

use coati_config::setkey::upper_name;
use coati_sadb::{
    Action, AuthAlgorithm, EncAlgorithm, Level, Policy, Port, Prefix, ReqId, Rule, Sa, SaProto, Secret, Upper,
};

use crate::clock::local;

/// `setkey -D`. `now` is in Unix seconds; `mask` hides keys.
pub fn sas_text(sas: &[Sa], now: u64, pid: u32, mask: bool) -> String {
    if sas.is_empty() {
        return "No SAD entries.\n".to_owned();
    }
    let mut text = String::new();
    for (index, sa) in sas.iter().enumerate() {
        // The kernel counts down to 0 with the last message.
        let sequence = (index + 1) % sas.len();
        let _ = sa_text(&mut text, sa, now, sequence, pid, mask);
    }
    text
}

fn sa_text(out: &mut String, sa: &Sa, now: u64, sequence: usize, pid: u32, mask: bool) -> std::fmt::Result {
    // Inside UDP each end has its port, and ESP another name.
    let proto = match sa.nat_t {
        Some(nat_t) => {
            let (from, to) = (nat_t.source_port, nat_t.destination_port);
            writeln!(out, "{}[{from}] {}[{to}] ", sa.id.source, sa.id.destination)?;
            "esp-udp"
        }
        None => {
            writeln!(out, "{} {} ", sa.id.source, sa.id.destination)?;
            sa.id.proto.setkey_name()
        }
    };
    writeln!(
        out,
        "\t{proto} mode={} spi={}(0x{:08x}) reqid={}(0x{:08x})",
        sa.mode.setkey_name(),
        sa.id.spi.0,
        sa.id.spi.0,
        sa.reqid.0,
        sa.reqid.0
    )?;
    if let Some(original) = sa.nat_t.and_then(|nat_t| nat_t.original) {
        writeln!(out, "\tNAT OA={original}")?;
    }
    if sa.id.proto == SaProto::Ipcomp {
        // The next field follows in the same line.
        write!(out, "\tC: deflate ")?;
    } else if !sa.enc_key.is_empty() || sa.enc != EncAlgorithm::Null {
        writeln!(out, "\tE: {} {}", sa.enc.setkey_name(), key_text(&sa.enc_key, mask))?;
    }
    if sa.auth != AuthAlgorithm::None {
        writeln!(out, "\tA: {} {}", sa.auth.setkey_name(), key_text(&sa.auth_key, mask))?;
    }
    writeln!(
        out,
        "\tseq=0x{:08x} replay={} flags=0x00000000 state={} ",
        sa.sequence,
        sa.replay_window / 8,
        sa.state.setkey_name()
    )?;
    writeln!(out, "\tcreated: {}\tcurrent: {}", time(sa.usage.added), time(now))?;
    writeln!(
        out,
        "\tdiff: {}(s)\thard: {}(s)\tsoft: {}(s)",
        now.saturating_sub(sa.usage.added),
        sa.hard.add_seconds,
        sa.soft.add_seconds
    )?;
    writeln!(
        out,
        "\tlast: {}\thard: {}(s)\tsoft: {}(s)",
        time(sa.usage.used),
        sa.hard.use_seconds,
        sa.soft.use_seconds
    )?;
    writeln!(
        out,
        "\tcurrent: {}(bytes)\thard: {}(bytes)\tsoft: {}(bytes)",
        sa.usage.bytes, sa.hard.bytes, sa.soft.bytes
    )?;
    writeln!(out, "\tallocated: {}\thard: {}\tsoft: {}", sa.usage.packets, sa.hard.packets, sa.soft.packets)?;
    writeln!(out, "\tsadb_seq={sequence} pid={pid} refcnt=0")
}

/// Groups of four bytes, each with a blank before it; a new line after each 32 bytes.
fn key_text(key: &Secret, mask: bool) -> String {
    if mask {
        return format!(" ({} bits, hidden)", key.len() * 8);
    }
    let mut text = String::new();
    for (index, byte) in key.expose().iter().enumerate() {
        if index != 0 && index % 32 == 0 {
            text.push('\n');
        }
        if index % 4 == 0 {
            text.push(' ');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// "Oct 16 22:55:06 2011", or as many blanks.
fn time(seconds: u64) -> String {
    if seconds == 0 { " ".repeat(20) } else { local(seconds, "%b %e %H:%M:%S %Y") }
}

/// `setkey -DP`, in the form without `prio` where the priority is the default one.
pub fn policies_text(policies: &[Policy], pid: u32) -> String {
    if policies.is_empty() {
        return "No SPD entries.\n".to_owned();
    }
    let mut text = String::new();
    for (index, policy) in policies.iter().enumerate() {
        let sequence = (index + 1) % policies.len();
        let _ = policy_text(&mut text, policy, sequence, pid);
    }
    text
}

fn policy_text(out: &mut String, policy: &Policy, sequence: usize, pid: u32) -> std::fmt::Result {
    let selector = &policy.selector;
    let ports = !matches!(selector.upper, Upper::Proto(1 | 47 | 58));
    let range = |prefix: &Prefix, port: Port| {
        let mut text = prefix.address.to_string();
        if !prefix.is_host() {
            let _ = write!(text, "/{}", prefix.length);
        }
        match port {
            Port::Any if ports => text.push_str("[any]"),
            Port::Is(number) if ports => {
                let _ = write!(text, "[{number}]");
            }
            _ => {}
        }
        text
    };
    writeln!(
        out,
        "{} {} {}",
        range(&selector.source, selector.source_port),
        range(&selector.destination, selector.destination_port),
        upper_name(selector.upper)
    )?;
    let action = match &policy.action {
        Action::Discard => "discard",
        Action::None => "none",
        Action::Ipsec(_) => "ipsec",
    };
    writeln!(out, "\t{} {}{action}", policy.direction.setkey_name(), priority(policy.priority.0))?;
    if let Action::Ipsec(rules) = &policy.action {
        for rule in rules {
            writeln!(out, "\t{}", rule_text(rule))?;
        }
    }
    writeln!(out, "\tcreated: {}  lastused: {}", time(policy.usage.added), time(policy.usage.used))?;
    writeln!(out, "\tlifetime: 0(s) validtime: 0(s)")?;
    writeln!(out, "\tspid={} seq={sequence} pid={pid}", policy.id.0)?;
    writeln!(out, "\trefcnt=1")
}

fn priority(value: u32) -> String {
    let (name, base) = match value {
        0x8000_0000 => return String::new(),
        ..0x6000_0000 => ("high", 0x4000_0000i64),
        0x6000_0000..0xa000_0000 => ("def", 0x8000_0000),
        _ => ("low", 0xc000_0000),
    };
    match base - i64::from(value) {
        0 => format!("prio {name} "),
        offset if offset > 0 => format!("prio {name} + {offset} "),
        offset => format!("prio {name} - {} ", -offset),
    }
}

fn rule_text(rule: &Rule) -> String {
    let ends =
        rule.endpoints.map_or(String::new(), |(source, destination)| format!("{source}-{destination}"));
    let level = match rule.level {
        Level::Default => "default".to_owned(),
        Level::Use => "use".to_owned(),
        Level::Require => "require".to_owned(),
        Level::Unique(ReqId(0)) => "unique".to_owned(),
        Level::Unique(ReqId(id)) => format!("unique{}{id}", if id <= ReqId::MANUAL_MAX { ':' } else { '#' }),
    };
    format!("{}/{}/{ends}/{level}", rule.proto.setkey_name(), rule.mode.setkey_name())
}

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::setkey::parse;
    use coati_sadb::{PolicyId, Request};

    use super::*;

    use chrono::{Local, NaiveDateTime, TimeZone};

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
        let (source, destination) = record[0].trim().split_once(' ').unwrap();
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
        for golden in [
            include_str!("../../golden/racoon/setkey-a-D.txt"),
            include_str!("../../golden/racoon/racoonctl-a-ss_esp.txt"),
        ] {
            let lines: Vec<&str> = golden.lines().collect();
            let (sas, times): (Vec<Sa>, Vec<u64>) = lines.chunks(11).map(sa_of).unzip();
            assert_eq!(sas.len(), 4);
            let pid = lines[10].split("pid=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(sas_text(&sas, times[0], pid, false), golden);
            assert!(!sas_text(&sas, times[0], pid, true).contains("0834acab"));
        }
        assert_eq!(sas_text(&[], 0, 1, false), include_str!("../../golden/racoon/racoonctl-a-ss_ah.txt"));
    }

    /// What ipsec-tools' pfkey_dump.c prints for an SA behind a NAT.
    #[test]
    fn an_sa_inside_udp() {
        let golden: Vec<&str> = include_str!("../../golden/racoon/setkey-a-D.txt").lines().take(11).collect();
        let (mut sa, now) = sa_of(&golden);
        let (from, to) = (sa.id.source, sa.id.destination);
        let original = Some("10.9.8.7".parse().unwrap());
        sa.nat_t = Some(coati_sadb::NatT {
            source_port: 4500,
            destination_port: 24_500,
            original,
            non_ike_marker: false,
        });
        let text = sas_text(&[sa], now, 1, false);
        let start = format!("{from}[4500] {to}[24500] \n\tesp-udp mode=transport spi=");
        assert!(text.starts_with(&start), "{text}");
        assert_eq!(text.lines().nth(2), Some("\tNAT OA=10.9.8.7"));
    }

    /// What ipsec-tools' pfkey_dump.c prints for IPComp: one line for the algorithm and what comes after it.
    #[test]
    fn an_sa_that_compresses() {
        let text = "add 192.0.2.1 192.0.2.2 ipcomp 0x1a2b -m transport -u 7 -C deflate;";
        let Request::Add(sa) = parse(&Source::new("t", text)).unwrap().remove(0).request else { panic!() };
        let text = sas_text(&[*sa], 0, 1, false);
        assert!(
            text.starts_with(
                "192.0.2.1 192.0.2.2 \n\tipcomp mode=transport spi=6699(0x00001a2b) reqid=7(0x00000007)\n\
                 \tC: deflate \tseq=0x00000000 replay=0 flags=0x00000000 state=mature \n\tcreated: "
            ),
            "{text}"
        );
    }

    /// The `in` and `out` policies of a real dump, without what FreeBSD's form does not have: `prio def`, policies of
    /// sockets, `fwd`.
    #[test]
    fn policies_as_ipsec_tools_prints_them() {
        let golden = include_str!("../../golden/racoon/setkey-a-DP.txt");
        let wanted: Vec<String> = golden
            .lines()
            .collect::<Vec<_>>()
            .join("\n")
            .split("\trefcnt=")
            .filter(|record| record.contains("unique"))
            .map(|record| {
                let from = record.find("192.0.2").unwrap();
                record[from..].replace(" prio def", "") + "\trefcnt=1\n"
            })
            .collect();
        assert_eq!(wanted.len(), 2);
        let text = "spdadd 192.0.2.2 192.0.2.1 gre -P in ipsec esp/transport//unique;\
                    spdadd 192.0.2.1 192.0.2.2 gre -P out ipsec esp/transport//unique;";
        let shown = [(8, 16385, "20:44:31", 4), (1, 16384, "20:44:25", 0)];
        for ((statement, wanted), (spid, reqid, used, sequence)) in
            parse(&Source::new("t", text)).unwrap().into_iter().zip(wanted).zip(shown)
        {
            let Request::SpdAdd(mut policy) = statement.request else { panic!() };
            policy.id = PolicyId(spid);
            let Action::Ipsec(rules) = &mut policy.action else { panic!() };
            rules[0].level = Level::Unique(ReqId(reqid));
            policy.usage.added = seconds("Nov 23 20:44:21 2026");
            policy.usage.used = seconds(&format!("Nov 23 {used} 2026"));
            let mut text = String::new();
            policy_text(&mut text, &policy, sequence, 1020).unwrap();
            assert_eq!(text, wanted);
        }
    }

    #[test]
    fn policies_in_the_form_of_the_how_to() {
        let text = "spdadd 198.51.100.1/32 192.0.2.1/32 gre -P in ipsec esp/transport//unique;\
                    spdadd 10.0.0.0/24[80] 10.1.0.0/16 tcp -P out prio high + 5 ipsec esp/tunnel/192.0.2.1-192.0.2.2/require ah/transport//use;";
        let policies: Vec<Policy> = parse(&Source::new("t", text))
            .unwrap()
            .into_iter()
            .map(|statement| match statement.request {
                Request::SpdAdd(policy) => Policy { id: PolicyId(8), ..*policy },
                _ => panic!(),
            })
            .collect();
        assert_eq!(
            policies_text(&policies, 7),
            "198.51.100.1 192.0.2.1 gre\n\tin ipsec\n\tesp/transport//unique\n\
             \tcreated:                       lastused:                     \n\
             \tlifetime: 0(s) validtime: 0(s)\n\tspid=8 seq=1 pid=7\n\trefcnt=1\n\
             10.0.0.0/24[80] 10.1.0.0/16[any] tcp\n\tout prio high + 5 ipsec\n\
             \tesp/tunnel/192.0.2.1-192.0.2.2/require\n\tah/transport//use\n\
             \tcreated:                       lastused:                     \n\
             \tlifetime: 0(s) validtime: 0(s)\n\tspid=8 seq=0 pid=7\n\trefcnt=1\n"
        );
    }
}
