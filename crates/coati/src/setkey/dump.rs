//! SAs and policies, character by character as each setkey prints them (pfkey_dump of libipsec), as JSON, and as commands.

use std::fmt::Write;

use coati_config::setkey::{Dialect, command, priority_words, rule_text, upper_name, upper_name_freebsd};
use coati_sadb::{
    Action, AuthAlgorithm, EncAlgorithm, Policy, Port, Prefix, Priority, Reply, Request, Sa, SaProto,
    SaState, Secret, Selector, Upper,
};
use serde_json::Value;

use super::options::Options;
use crate::clock::{local, unix_seconds};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Whose form.
    pub dialect: Dialect,
    /// `-p`: addresses of SAs and tunnels with their ports, which are 0.
    pub ports: bool,
    /// Without keys.
    pub mask_keys: bool,
    /// Unix seconds.
    pub now: u64,
    /// The process that asked.
    pub pid: u32,
}

/// The last numbers of a record.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// How many records follow.
    pub sequence: u32,
    /// Who uses it, which only a kernel counts.
    pub references: u16,
}

impl Tail {
    /// Those of the record at `index` of `count`: a kernel counts down to 0 with the last.
    fn of(index: usize, count: usize, references: u16) -> Self {
        let sequence = (index + 1).checked_rem(count).unwrap_or(0);
        Self { sequence: u32::try_from(sequence).unwrap_or(u32::MAX), references }
    }
}

/// `setkey -D` as ipsec-tools has it. `now` is in Unix seconds.
pub fn sas_text(sas: &[Sa], now: u64, pid: u32, mask_keys: bool) -> String {
    Form { dialect: Dialect::IpsecTools, ports: false, mask_keys, now, pid }.sas(sas)
}

impl Form {
    /// The first line of `-l`.
    pub const SHORT_HEADER: &str = "time p   s spi      ltime   src -> dst";

    /// Now, for this process.
    pub fn of(options: &Options) -> Self {
        Self {
            dialect: options.dialect,
            ports: options.ports,
            mask_keys: options.mask_keys,
            now: unix_seconds(),
            pid: std::process::id(),
        }
    }

    /// `-D`.
    pub fn sas(&self, sas: &[Sa]) -> String {
        if sas.is_empty() {
            return "No SAD entries.\n".to_owned();
        }
        sas.iter().enumerate().map(|(index, sa)| self.sa(sa, Tail::of(index, sas.len(), 0))).collect()
    }

    /// One record of `-D`.
    pub fn sa(&self, sa: &Sa, tail: Tail) -> String {
        let mut text = String::new();
        let _ = self.write_sa(&mut text, sa, tail);
        text
    }

    fn write_sa(&self, out: &mut String, sa: &Sa, tail: Tail) -> std::fmt::Result {
        let is_freebsd = self.dialect == Dialect::FreeBsd;
        let (source, destination) = (sa.id.source, sa.id.destination);
        // Inside UDP each end has its port, and ESP another name.
        let (ends, proto) = match sa.nat_t {
            Some(nat_t) => {
                let (from, to) = (nat_t.source_port, nat_t.destination_port);
                (format!("{source}[{from}] {destination}[{to}]"), "esp-udp")
            }
            None if self.ports => (format!("{source}[0] {destination}[0]"), sa.id.proto.setkey_name()),
            None => (format!("{source} {destination}"), sa.id.proto.setkey_name()),
        };
        writeln!(out, "{ends}{}", if is_freebsd { "" } else { " " })?;
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
            writeln!(out, "\tNAT{}={original}", if is_freebsd { ": OAI" } else { " OA" })?;
        }
        if sa.id.proto == SaProto::Ipcomp {
            // The next field follows in the same line.
            write!(out, "\tC: deflate ")?;
        } else if !sa.enc_key.is_empty() || sa.enc != EncAlgorithm::Null {
            writeln!(out, "\tE: {} {}", sa.enc.setkey_name(), self.key(&sa.enc_key))?;
        }
        if sa.auth != AuthAlgorithm::None {
            let name = sa.auth.setkey_name();
            let name = if is_freebsd { name.replace("hmac-sha", "hmac-sha2-") } else { name.to_owned() };
            // Only the second family has it in its name.
            let name = name.replace("hmac-sha2-1", "hmac-sha1");
            writeln!(out, "\tA: {name} {}", self.key(&sa.auth_key))?;
        }
        writeln!(
            out,
            "\tseq=0x{:08x} replay={} flags=0x00000000 state={} ",
            sa.sequence,
            sa.replay_window / 8,
            sa.state.setkey_name()
        )?;
        writeln!(out, "\tcreated: {}\tcurrent: {}", time(sa.usage.added), time(self.now))?;
        writeln!(
            out,
            "\tdiff: {}(s)\thard: {}(s)\tsoft: {}(s)",
            self.now.saturating_sub(sa.usage.added),
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
        writeln!(
            out,
            "\tallocated: {}\thard: {}\tsoft: {}",
            sa.usage.packets, sa.hard.packets, sa.soft.packets
        )?;
        writeln!(out, "\tsadb_seq={} pid={} refcnt={}", tail.sequence, self.pid, tail.references)
    }

    fn key(&self, key: &Secret) -> String {
        if self.mask_keys { format!(" ({} bits, hidden)", key.len() * 8) } else { hex(key.expose()) }
    }

    /// `-l -D`: a line for each.
    pub fn short(&self, sas: &[Sa]) -> String {
        let mut text = String::new();
        for sa in sas {
            let proto = match sa.id.proto {
                SaProto::Esp => "esp",
                SaProto::Ah => "ah",
                // The number of its type.
                SaProto::Ipcomp => "#9",
            };
            let state = match sa.state {
                SaState::Larval => 'L',
                SaState::Mature => 'M',
                SaState::Dying => 'D',
                SaState::Dead => 'd',
            };
            let seconds = |seconds: u64| if seconds >= 1000 { "big".to_owned() } else { seconds.to_string() };
            let (from, to) = sa.nat_t.map_or((0, 0), |nat_t| (nat_t.source_port, nat_t.destination_port));
            let _ = writeln!(
                text,
                "{} {proto:<3} {state} {:08x} {:>3}/{:<3} {}[{from}] -> {}[{to}]",
                local(self.now, "%M%S"),
                sa.id.spi.0,
                seconds(self.now.saturating_sub(sa.usage.added)),
                seconds(sa.hard.add_seconds),
                sa.id.source,
                sa.id.destination
            );
        }
        text
    }

    /// `-DP`.
    pub fn policies(&self, policies: &[Policy]) -> String {
        if policies.is_empty() {
            return "No SPD entries.\n".to_owned();
        }
        let record = |(index, policy)| self.policy(policy, Tail::of(index, policies.len(), 1));
        policies.iter().enumerate().map(record).collect()
    }

    /// One record of `-DP`.
    pub fn policy(&self, policy: &Policy, tail: Tail) -> String {
        let mut text = String::new();
        let _ = self.write_policy(&mut text, policy, tail);
        text
    }

    fn write_policy(&self, out: &mut String, policy: &Policy, tail: Tail) -> std::fmt::Result {
        writeln!(out, "{}", self.selector(&policy.selector))?;
        let action = match &policy.action {
            Action::Discard => "discard",
            Action::None => "none",
            Action::Ipsec(_) => "ipsec",
        };
        let priority = match policy.priority {
            // Without priorities there is none to show, unless somebody has set one.
            priority if !self.dialect.has_priorities() && priority == Priority::default() => String::new(),
            priority => priority_words(priority),
        };
        writeln!(out, "\t{} {priority}{action}", policy.direction.setkey_name())?;
        if let Action::Ipsec(rules) = &policy.action {
            for rule in rules {
                writeln!(out, "\t{}", rule_text(rule, self.ports))?;
            }
        }
        writeln!(out, "\tcreated: {}  lastused: {}", time(policy.usage.added), time(policy.usage.used))?;
        writeln!(out, "\tlifetime: 0(s) validtime: 0(s)")?;
        let scope = if self.dialect == Dialect::FreeBsd { " scope=global " } else { "" };
        writeln!(out, "\tspid={} seq={} pid={}{scope}", policy.id.0, tail.sequence, self.pid)?;
        writeln!(out, "\trefcnt={}", tail.references)
    }

    fn selector(&self, selector: &Selector) -> String {
        let is_freebsd = self.dialect == Dialect::FreeBsd;
        let upper = if is_freebsd { upper_name_freebsd(selector.upper) } else { upper_name(selector.upper) };
        // What has types or a key has them behind the protocol, except that FreeBSD knows it of icmp6 only.
        let has_ports = match selector.upper {
            Upper::Proto(ICMP6) => false,
            Upper::Proto(ICMP | GRE | MOBILITY) => is_freebsd,
            _ => true,
        };
        let range = |prefix: &Prefix, port: Port| {
            let mut text = prefix.address.to_string();
            if !prefix.is_host() {
                let _ = write!(text, "/{}", prefix.length);
            }
            match port {
                Port::Any | Port::Is(0) if has_ports => text.push_str("[any]"),
                Port::Is(number) if has_ports => {
                    let _ = write!(text, "[{number}]");
                }
                _ => {}
            }
            text
        };
        let source = range(&selector.source, selector.source_port);
        let destination = range(&selector.destination, selector.destination_port);
        let spec = match (selector.source_port, selector.destination_port, selector.upper) {
            _ if has_ports => String::new(),
            (Port::Is(high), Port::Is(low), Upper::Proto(GRE)) => {
                format!(" {}", u32::from(high) << 16 | u32::from(low))
            }
            (Port::Is(kind), Port::Is(code), _) => format!(" {kind},{code}"),
            _ => String::new(),
        };
        format!("{source} {destination} {upper}{spec}")
    }

    /// Commands that add SAs as they are; those without keys yet cannot be added.
    pub fn sa_commands(&self, sas: &[Sa]) -> String {
        let there = sas.iter().filter(|sa| matches!(sa.state, SaState::Mature | SaState::Dying));
        let line = |sa: &Sa| {
            let mut sa = sa.clone();
            if self.mask_keys {
                (sa.enc_key, sa.auth_key) = (Secret::default(), Secret::default());
            }
            command(&Request::Add(Box::new(sa))) + "\n"
        };
        there.map(line).collect()
    }

    /// Commands that add policies as they are.
    pub fn policy_commands(&self, policies: &[Policy]) -> String {
        let line = |policy: &Policy| command(&Request::SpdAdd(Box::new(policy.clone()))) + "\n";
        policies.iter().map(line).collect()
    }

    /// `--json`.
    pub fn json(&self, reply: &Reply) -> serde_json::Result<String> {
        let mut value = serde_json::to_value(reply)?;
        if self.mask_keys {
            mask(&mut value);
        }
        serde_json::to_string(&value)
    }
}

const ICMP: u8 = 1;
const GRE: u8 = 47;
const ICMP6: u8 = 58;
const MOBILITY: u8 = 135;

/// Puts the length of each key in its place.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(key) if name == "enc_key" || name == "auth_key" => {
                        *key = format!("({} bits, hidden)", key.len() * 4);
                    }
                    other => mask(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Groups of four bytes, each with a blank before it; a new line after each 32 bytes.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
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

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::setkey::parse;
    use coati_sadb::{Level, PolicyId, ReqId};

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
            (include_str!("../../golden/racoon/setkey-a-D.txt"), false),
            (include_str!("../../golden/racoon/setkey-a-Dp.txt"), true),
            (include_str!("../../golden/racoon/racoonctl-a-ss_esp.txt"), false),
        ] {
            let lines: Vec<&str> = golden.lines().collect();
            let (sas, times): (Vec<Sa>, Vec<u64>) = lines.chunks(11).map(sa_of).unzip();
            assert_eq!(sas.len(), 4);
            let pid = lines[10].split("pid=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            let form = Form { now: times[0], pid, ports, ..FORM };
            assert_eq!(form.sas(&sas), golden);
            assert!(!Form { mask_keys: true, ..form }.sas(&sas).contains("0834acab"));
        }
        assert_eq!(FORM.sas(&[]), include_str!("../../golden/racoon/racoonctl-a-ss_ah.txt"));
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
            (include_str!("../../golden/racoon/setkey-a-DP.txt"), false, 1020),
            (include_str!("../../golden/racoon/setkey-a-DPp.txt"), true, 1023),
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
            let shown =
                [(18, None, None, 3), (8, Some(16385), Some("31"), 4), (1, Some(16384), Some("25"), 0)];
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
            (
                "::/0 ::/0 icmp6 135,0 -P in none",
                IpsecTools,
                "::/0 ::/0 ipv6-icmp 135,0\n\tin prio def none\n",
            ),
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
        let masked = Form { mask_keys: true, ..FORM };
        let hidden = masked.sa_commands(&sas);
        assert!(
            hidden.contains("-E aes-cbc 0x -A hmac-sha1 0x;\n") && hidden.contains(" 0x1000 "),
            "{hidden}"
        );
        let reply = Reply::Sas { sas };
        assert!(FORM.json(&reply).unwrap().contains("7477656e7479206279746573206f662074657874"));
        let json = masked.json(&reply).unwrap();
        assert!(json.contains("\"auth_key\":\"(160 bits, hidden)\"") && !json.contains("7477656e"), "{json}");
        let text = "spdadd 10.0.0.0/24[80] 10.1.0.0/16 tcp -P in prio high ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;\n";
        assert_eq!(FORM.policy_commands(&policies(text)), text);
    }
}
