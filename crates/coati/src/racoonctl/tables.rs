//! `racoonctl show-sa isakmp`, character by character as racoon's own prints it, in its three widths.

use std::fmt::Write;
use std::net::SocketAddr;

use coati_router::admin::IsakmpStatus;

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
