//! racoonctl's tables and lines, character by character as racoon's own prints them: `show-sa isakmp` in its three
//! widths, `show-schedule`, `show-event`.

use std::fmt::Write;
use std::net::SocketAddr;

use coati_router::admin::{EventStatus, IsakmpStatus, TimerStatus};

use crate::clock::local;

/// How much of each SA is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Peer, cookies and age.
    Short,
    /// `-l`: state, side, version, exchange and phase 2 too.
    Long,
    /// `-ll`: the source address too.
    Full,
}

impl Width {
    /// As many `-l` as were given.
    pub fn of(count: usize) -> Self {
        match count {
            0 => Self::Short,
            1 => Self::Long,
            _ => Self::Full,
        }
    }

    /// Columns of an address.
    fn address(self) -> usize {
        if self == Self::Full { 45 } else { 22 }
    }
}

/// The table with its heading; the heading alone when there is no SA.
pub fn isakmp_text(list: &[IsakmpStatus], width: Width) -> String {
    let mut text = String::new();
    let columns = width.address();
    if width == Width::Full {
        let _ = write!(text, "{:<columns$} ", "Source");
    }
    let _ = write!(text, "{:<columns$} {:<33} ", "Destination", "Cookies");
    text.push_str(match width {
        Width::Short => "Created\n",
        Width::Long | Width::Full => "ST S  V E Created             Phase2\n",
    });
    for sa in list {
        let _ = row(&mut text, sa, width);
    }
    text
}

/// The timers with their heading; `names` says what they are for.
pub fn schedule_text(list: &[TimerStatus], names: bool) -> String {
    let mut text = "index    tick     xtime    created\n".to_owned();
    for timer in list {
        let created = local(timer.created, "%Y-%m-%d %H:%M:%S");
        let _ = write!(text, "{:<8} {:<8} {:<8} {created}", timer.id, timer.tick, timer.fires);
        if names {
            let _ = write!(text, "  {}", timer.what);
        }
        text.push('\n');
    }
    text
}

/// One event; `detail` adds when and why.
pub fn event_text(event: &EventStatus, detail: bool) -> String {
    let end = |address: Option<SocketAddr>| {
        address.map_or("unknown".to_owned(), |address| format!("{}[{}]", address.ip(), address.port()))
    };
    let (from, to) = (end(event.local), end(event.remote));
    let mut text = match event.kind.text() {
        Some(what) => format!("{what} : {from} -> {to}\n"),
        None => format!("Event {}: {from} -> {to}\n", event.kind.number()),
    };
    if detail {
        let _ = writeln!(text, "\t{} {}", local(event.at, "%Y-%m-%d %H:%M:%S"), event.why);
    }
    text
}

/// The end of `vpn-connect`; the banner is framed in the width of the terminal.
pub fn mode_cfg_text(event: &EventStatus, columns: usize) -> String {
    let mut text = match event.address {
        Some(address) => format!("Bound to address {address}\n"),
        None => "VPN connexion established\n".to_owned(),
    };
    if let Some(banner) = &event.banner {
        let line = "=".repeat(columns);
        // It comes from the peer: nothing in it may command the terminal.
        let shown: String =
            banner.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        let _ = write!(text, "{line}\n{shown}\n{line}\n");
    }
    text
}

fn row(out: &mut String, sa: &IsakmpStatus, width: Width) -> std::fmt::Result {
    let columns = width.address();
    if width == Width::Full {
        write!(out, "{} ", end(sa.local, columns))?;
    }
    write!(out, "{} {}:{} ", end(sa.remote, columns), sa.initiator_cookie, sa.responder_cookie)?;
    if width != Width::Short {
        let side = if sa.initiator { 'I' } else { 'R' };
        write!(out, "{:2} {side} {:2x} ", sa.state, sa.version)?;
        if let Some(letter) = exchange_letter(sa.exchange) {
            write!(out, "{letter} ")?;
        }
    }
    match sa.created {
        0 => write!(out, "{:19} ", "")?,
        created => write!(out, "{} ", local(created, "%Y-%m-%d %H:%M:%S"))?,
    }
    if width != Width::Short {
        write!(out, "{:6} ", sa.phase2)?;
    }
    writeln!(out)
}

/// `address.port`, padded; of an address that is too long the end is cut, the port stays.
fn end(address: SocketAddr, columns: usize) -> String {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let room = columns.saturating_sub(port.len() + 1);
    let shown: String = ip.chars().take(room).collect();
    format!("{:<columns$}", format!("{shown}.{port}"))
}

/// Exchange types 1 to 5 (RFC 2408 section 3.1): base, main, authentication only, aggressive, informational.
fn exchange_letter(exchange: u8) -> Option<char> {
    Some(match exchange {
        1 => 'B',
        2 => 'M',
        3 => 'U',
        4 => 'A',
        5 => 'I',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{Local, NaiveDateTime, TimeZone};
    use coati_router::admin::EventKind;

    use super::*;

    /// The SA in a real racoon's `-ll` output.
    fn sa() -> IsakmpStatus {
        let golden = include_str!("../../golden/racoon/racoonctl-a-ll_ss_isakmp.txt");
        let row: Vec<&str> = golden.lines().nth(1).unwrap().split_whitespace().collect();
        let [source, destination, cookies, state, side, version, _exchange, date, time, phase2] = row[..]
        else {
            panic!("{row:?}")
        };
        let address = |text: &str| {
            let (ip, port) = text.rsplit_once('.').unwrap();
            SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
        };
        let created = NaiveDateTime::parse_from_str(&format!("{date} {time}"), "%Y-%m-%d %H:%M:%S").unwrap();
        let (initiator_cookie, responder_cookie) = cookies.split_once(':').unwrap();
        IsakmpStatus {
            local: address(source),
            remote: address(destination),
            initiator_cookie: initiator_cookie.to_owned(),
            responder_cookie: responder_cookie.to_owned(),
            state: state.parse().unwrap(),
            initiator: side == "I",
            version: u8::from_str_radix(version, 16).unwrap(),
            exchange: 2,
            created: Local.from_local_datetime(&created).unwrap().timestamp().try_into().unwrap(),
            phase2: phase2.parse().unwrap(),
            identity: None,
        }
    }

    #[test]
    fn as_a_real_racoon_prints_it() {
        let list = [sa()];
        for (width, golden) in [
            (Width::Short, include_str!("../../golden/racoon/racoonctl-a-ss_isakmp.txt")),
            (Width::Long, include_str!("../../golden/racoon/racoonctl-a-l_ss_isakmp.txt")),
            (Width::Full, include_str!("../../golden/racoon/racoonctl-a-ll_ss_isakmp.txt")),
        ] {
            assert_eq!(isakmp_text(&list, width), golden);
            assert_eq!(isakmp_text(&[], width), golden.lines().next().unwrap().to_owned() + "\n");
        }
    }

    #[test]
    fn timers_as_a_real_racoon_prints_them() {
        let golden = include_str!("../../golden/racoon/racoonctl-a-show-schedule.txt");
        let timer = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [id, tick, fires, date, time] = words[..] else { panic!("{line}") };
            let created =
                NaiveDateTime::parse_from_str(&format!("{date} {time}"), "%Y-%m-%d %H:%M:%S").unwrap();
            let created = Local.from_local_datetime(&created).unwrap().timestamp();
            let number = |text: &str| text.parse().unwrap();
            TimerStatus {
                id: number(id),
                what: "DPD".into(),
                tick: number(tick),
                fires: number(fires),
                created: created.try_into().unwrap(),
            }
        };
        let list: Vec<TimerStatus> = golden.lines().skip(1).map(timer).collect();
        assert_eq!(schedule_text(&list, false), golden);
        assert!(schedule_text(&list, true).lines().nth(1).unwrap().ends_with("  DPD"));
    }

    #[test]
    fn events_in_racoonctls_words() {
        let mut event = EventStatus {
            kind: EventKind::Phase1Up,
            at: 0,
            local: Some("192.0.2.1:500".parse().unwrap()),
            remote: Some("192.0.2.2:4500".parse().unwrap()),
            address: None,
            banner: None,
            why: "because".into(),
        };
        assert_eq!(event_text(&event, false), "Phase 1 established : 192.0.2.1[500] -> 192.0.2.2[4500]\n");
        assert!(event_text(&event, true).ends_with(" because\n"));
        event.kind = EventKind::Phase1PeerDeleted;
        event.local = None;
        assert_eq!(event_text(&event, false), "Event 262: unknown -> 192.0.2.2[4500]\n");
        assert_eq!(mode_cfg_text(&event, 80), "VPN connexion established\n");
        event.address = Some("10.9.9.9".parse().unwrap());
        event.banner = Some("Welcome\u{1b}[2J\nhome".into());
        assert_eq!(mode_cfg_text(&event, 3), "Bound to address 10.9.9.9\n===\nWelcome [2J\nhome\n===\n");
    }

    #[test]
    fn one_that_is_not_established_and_has_a_long_address() {
        let remote = "[2001:db8:1111:2222:3333:4444:5555:6666]:4500".parse().unwrap();
        let sa = IsakmpStatus { remote, created: 0, state: 3, phase2: 0, initiator: false, ..sa() };
        let text = isakmp_text(&[sa], Width::Long);
        let row = text.lines().nth(1).unwrap();
        assert_eq!(
            row,
            format!("2001:db8:1111:222.4500 69115f39ec3bca67:6191076ca75838dc  3 R 10 M {:19}      0 ", "")
        );
    }
}
