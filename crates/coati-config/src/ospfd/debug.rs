//! `debug ospf …`, in the file and as a command: what is told about OSPF beyond what always is.

/// What is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugOspf {
    /// Packets that are sent: bit 1 is hellos, as their type is, bit 5 acknowledgements.
    pub sent: u8,
    /// Those that have come, and why they were dropped.
    pub received: u8,
    /// Those of them that are told with their LSAs.
    pub detail: u8,
    /// `event`: what somebody outside of OSPF has told it.
    pub event: bool,
    /// `ism`: moves of the interfaces' machines.
    pub interface: bool,
    /// `nsm`: moves of the neighbours' machines, in the log in any case, and what makes them.
    pub neighbour: bool,
    /// `lsa`: LSAs that are originated, installed and taken out.
    pub lsa: bool,
    /// `spf`: computations of paths, and routes that they have changed.
    pub spf: bool,
}

/// Kinds of packets with their types.
const PACKETS: [(&str, u8); 6] = [
    ("hello", 1 << 1),
    ("dd", 1 << 2),
    ("ls-request", 1 << 3),
    ("ls-update", 1 << 4),
    ("ls-ack", 1 << 5),
    ("all", ALL),
];
const ALL: u8 = 0b11_1110;
const TOPICS: [&str; 6] = ["packet", "event", "ism", "nsm", "lsa", "spf"];
/// FRR's names of parts of these, which are all told.
const PARTS: [&str; 10] =
    ["aggregate", "flooding", "generate", "install", "refresh", "status", "events", "timers", "recv", "send"];

/// A word that is not known: which one, and what is known in its place.
pub type Unknown = (usize, Vec<&'static str>);

impl DebugOspf {
    /// Switches on, or off, what the words behind `debug ospf` name; without any, everything.
    pub fn apply(&mut self, words: &[&str], on: bool) -> Result<(), Unknown> {
        let (topic, rest) = match words {
            [] => {
                *self = Self::default();
                if on {
                    let (event, interface, neighbour, lsa, spf) = (true, true, true, true, true);
                    *self =
                        Self { sent: ALL, received: ALL, detail: 0, event, interface, neighbour, lsa, spf };
                }
                return Ok(());
            }
            [topic, rest @ ..] => (*topic, rest),
        };
        let flag = match topic {
            "packet" => return self.packets(rest, on),
            "event" => &mut self.event,
            "ism" => &mut self.interface,
            "nsm" => &mut self.neighbour,
            "lsa" => &mut self.lsa,
            "spf" => &mut self.spf,
            _ => return Err((0, TOPICS.to_vec())),
        };
        match rest {
            [] => {}
            [part] if PARTS.contains(part) => {}
            _ => return Err((1, PARTS.to_vec())),
        }
        *flag = on;
        Ok(())
    }

    fn packets(&mut self, words: &[&str], on: bool) -> Result<(), Unknown> {
        let (kinds, rest) = match words {
            [] => (ALL, words),
            [kind, rest @ ..] => {
                let found = PACKETS.iter().find(|(name, _)| name == kind);
                let Some((_, bits)) = found else {
                    return Err((1, PACKETS.iter().map(|(name, _)| *name).collect()));
                };
                (*bits, rest)
            }
        };
        let (sent, received, detail) = match rest {
            [] => (true, true, false),
            ["detail"] => (true, true, true),
            ["send"] => (true, false, false),
            ["recv"] => (false, true, false),
            ["send", "detail"] => (true, false, true),
            ["recv", "detail"] => (false, true, true),
            _ => return Err((2, vec!["send", "recv", "detail"])),
        };
        let set = |bits: &mut u8| if on { *bits |= kinds } else { *bits &= !kinds };
        sent.then(|| set(&mut self.sent));
        received.then(|| set(&mut self.received));
        (detail || !on).then(|| set(&mut self.detail));
        Ok(())
    }

    /// The lines that say this, for `show debugging ospf`.
    pub fn lines(&self) -> Vec<String> {
        let mut list = Vec::new();
        for (name, bit) in PACKETS.iter().filter(|(name, _)| *name != "all") {
            let detail = if self.detail & bit != 0 { " detail" } else { "" };
            let way = match (self.sent & bit != 0, self.received & bit != 0) {
                (true, true) => "",
                (true, false) => " send",
                (false, true) => " recv",
                (false, false) => continue,
            };
            list.push(format!("debug ospf packet {name}{way}{detail}"));
        }
        let topics = [
            (self.event, "event"),
            (self.interface, "ism"),
            (self.neighbour, "nsm"),
            (self.lsa, "lsa"),
            (self.spf, "spf"),
        ];
        let on = topics.iter().filter(|(on, _)| *on);
        list.extend(on.map(|(_, name)| format!("debug ospf {name}")));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_on() {
        let mut debug = DebugOspf::default();
        for words in ["packet hello send", "packet ls-update detail", "lsa flooding", "spf", "packet dd recv"]
        {
            debug.apply(&words.split(' ').collect::<Vec<_>>(), true).unwrap();
        }
        debug.apply(&["spf"], false).unwrap();
        let expected = [
            "debug ospf packet hello send",
            "debug ospf packet dd recv",
            "debug ospf packet ls-update detail",
            "debug ospf lsa",
        ];
        assert_eq!(debug.lines(), expected);
        // What is written is read.
        let mut again = DebugOspf::default();
        for line in debug.lines() {
            again.apply(&line.split(' ').skip(2).collect::<Vec<_>>(), true).unwrap();
        }
        assert_eq!(again, debug);
        debug.apply(&[], false).unwrap();
        assert_eq!(debug, DebugOspf::default());
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut debug = DebugOspf::default();
        assert_eq!(debug.apply(&["zebra"], true).unwrap_err().0, 0);
        assert_eq!(debug.apply(&["packet", "hallo"], true).unwrap_err().0, 1);
        assert_eq!(debug.apply(&["packet", "hello", "sent"], true).unwrap_err().0, 2);
        assert_eq!(debug, DebugOspf::default());
    }
}
