//! SAs and policies, character by character as each setkey prints them (pfkey_dump of libipsec), as JSON, and as commands.

use std::fmt::Write;

use coati_config::setkey::{
    Dialect, command, priority_words, rule_text, upper_name, upper_name_freebsd, upper_spec,
};
use coati_sadb::{
    Action, AuthAlgorithm, EncAlgorithm, Policy, Port, Prefix, Priority, Reply, Request, Sa, SaProto,
    SaState, Secret, Selector, Upper,
};
use coati_wire::ipv4::protocol;
use serde_json::Value;

use super::options::Options;
use crate::clock::{local, unix_seconds};
use crate::pfkey::flags;

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
        if let Some(offload) = &sa.offload {
            let direction =
                offload.inbound.map_or("", |inbound| if inbound { " dir in" } else { " dir out" });
            writeln!(out, "\toffload: dev {}{direction}", offload.interface)?;
        }
        writeln!(
            out,
            "\tseq=0x{:08x} replay={} flags=0x{:08x} state={} ",
            sa.sequence,
            sa.replay_window / 8,
            flags(sa),
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
        let has_spec = selector.upper.has_numbers_of_its_own()
            && (!is_freebsd || selector.upper == Upper::Proto(protocol::ICMPV6));
        let range = |prefix: &Prefix, port: Port| {
            let mut text = prefix.address.to_string();
            if !prefix.is_host() {
                let _ = write!(text, "/{}", prefix.length);
            }
            match port {
                Port::Any | Port::Is(0) if !has_spec => text.push_str("[any]"),
                Port::Is(number) if !has_spec => {
                    let _ = write!(text, "[{number}]");
                }
                _ => {}
            }
            text
        };
        let source = range(&selector.source, selector.source_port);
        let destination = range(&selector.destination, selector.destination_port);
        let spec = upper_spec(selector).filter(|_| has_spec).map_or(String::new(), |spec| format!(" {spec}"));
        format!("{source} {destination} {upper}{spec}")
    }

    /// Commands that add SAs as they are; those without keys yet cannot be added. Hidden keys have to be put in again: a file
    /// in which one is missing is refused.
    pub fn sa_commands(&self, sas: &[Sa]) -> String {
        let there = sas.iter().filter(|sa| matches!(sa.state, SaState::Mature | SaState::Dying));
        let line = |sa: &Sa| {
            let mut sa = sa.clone();
            if self.mask_keys {
                (sa.enc_key, sa.auth_key) = (Secret::default(), Secret::default());
            }
            // What is written of no key.
            command(&Request::Add(Box::new(sa))).replace(" 0x ", " KEY ").replace(" 0x;", " KEY;") + "\n"
        };
        let note = "# The keys are hidden: write them where KEY stands before this is loaded.\n";
        let commands: String = there.map(line).collect();
        if commands.contains(" KEY") { note.to_owned() + &commands } else { commands }
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
mod tests;
