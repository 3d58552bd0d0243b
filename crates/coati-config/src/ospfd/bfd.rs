//! `bfd`: profiles for `ip ospf bfd`.

use super::Line;
use crate::diagnostic::Diagnostic;

/// How often a session's packets go; the defaults are FRR's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// `detect-multiplier`.
    pub multiplier: u8,
    /// `receive-interval`, in milliseconds.
    pub receive: u32,
    /// `transmit-interval`, in milliseconds.
    pub transmit: u32,
}

impl Default for BfdProfile {
    fn default() -> Self {
        Self { multiplier: 3, receive: 300, transmit: 300 }
    }
}

/// `ip ospf bfd …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OspfBfd {
    /// These times, or the usual ones.
    Times(BfdProfile),
    /// Those of a profile.
    Profile(String),
}

const WORDS: [&str; 8] = [
    "detect-multiplier",
    "receive-interval",
    "transmit-interval",
    "echo-mode",
    "minimum-ttl",
    "passive-mode",
    "shutdown",
    "exit",
];

/// A line of `profile X`.
pub(super) fn profile_line(
    profile: &mut BfdProfile,
    line: &mut Line<'_, '_>,
    texts: &[&str],
) -> Result<(), Diagnostic> {
    match texts {
        ["detect-multiplier", ..] => profile.multiplier = line.number(1, 2, 255)?,
        ["receive-interval", ..] => profile.receive = line.number(1, 10, 4_294_967)?,
        ["transmit-interval", ..] => profile.transmit = line.number(1, 10, 4_294_967)?,
        ["echo-mode" | "echo-interval" | "echo", ..] => {
            line.read_over(0, "echo packets of BFD");
            return Ok(());
        }
        ["passive-mode" | "minimum-ttl" | "shutdown" | "log-session-changes", ..] => {
            line.read_over(0, "such lines");
            return Ok(());
        }
        ["no", ..] => return Ok(()),
        _ => return Err(line.unknown(0, "statement of `profile`", &WORDS)),
    }
    line.ends(2)
}

/// What stands behind `ip ospf bfd`: nothing, `profile X`, or a multiplier and two intervals.
pub(super) fn of_interface(line: &mut Line<'_, '_>, rest: &[&str]) -> Result<OspfBfd, Diagnostic> {
    match rest {
        [] => Ok(OspfBfd::Times(BfdProfile::default())),
        ["profile", ..] => {
            let name = line.name(4, super::Named::BfdProfile)?;
            line.ends(5)?;
            Ok(OspfBfd::Profile(name))
        }
        [_, _, _, ..] => {
            let times = BfdProfile {
                multiplier: line.number(3, 2, 255)?,
                receive: line.number(4, 50, 60_000)?,
                transmit: line.number(5, 50, 60_000)?,
            };
            line.ends(6)?;
            Ok(OspfBfd::Times(times))
        }
        _ => Err(line.unknown(3, "word after `bfd`", &["profile"])),
    }
}
