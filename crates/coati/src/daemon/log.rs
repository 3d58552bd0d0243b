//! The log, in racoon's form and words, so that what people grep for is still there:
//! `2026-11-24 10:00:00: INFO: ISAKMP-SA established 192.0.2.1[500]-198.51.100.1[500] spi:…`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use coati_ike::{EndReason, Event, ExchangeMode};
use coati_ospf as ospf;
use coati_sadb::SaId;

use crate::clock::{local, unix_seconds};

/// A file, or standard error.
#[derive(Debug)]
pub struct RacoonLog {
    file: Option<File>,
}

impl RacoonLog {
    /// Appends to this file, which only its owner can read; without one, writes to standard error.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path
            .map(|path| OpenOptions::new().append(true).create(true).mode(0o600).open(path))
            .transpose()?;
        Ok(Self { file })
    }

    /// One line. Whatever came from outside is made harmless for terminals.
    pub fn line(&mut self, level: &str, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = format!("{}: {level}: {text}\n", local(unix_seconds(), "%Y-%m-%d %H:%M:%S"));
        // There is nobody to tell that the log cannot be written.
        let _ = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    /// What OSPF tells, in FRR's words for adjacencies.
    pub fn ospf(&mut self, event: &ospf::Event) {
        match event {
            ospf::Event::NeighbourState { router_id, address, interface, from, to, why } => {
                let (from, to) = (from.name(), to.name());
                let text =
                    format!("AdjChg: Nbr {router_id}({address}) on {interface}: {from} -> {to} ({why})");
                self.line("INFO", &text);
            }
            ospf::Event::Problem(text) => self.line("ERROR", text),
            ospf::Event::RoutesChanged => {}
        }
    }

    /// What IKE tells.
    pub fn ike(&mut self, event: &Event) {
        let (level, text) = match event {
            Event::Phase1Begun { exchange, local, remote, initiator } => {
                let word = if *initiator { "initiate" } else { "respond" };
                let ends = format!("{}<=>{}", end(local), end(remote));
                self.line("INFO", &format!("{word} new phase 1 negotiation: {ends}"));
                let mode = match exchange {
                    ExchangeMode::Main => "Identity Protection",
                    ExchangeMode::Aggressive => "Aggressive",
                };
                ("INFO", format!("begin {mode} mode."))
            }
            Event::IsakmpEstablished { local, remote, spi } => {
                ("INFO", format!("ISAKMP-SA established {}-{} spi:{spi}", end(local), end(remote)))
            }
            Event::IsakmpDeleted { local, remote, spi, why } => {
                let word = if *why == EndReason::Expired { "expired" } else { "deleted" };
                ("INFO", format!("ISAKMP-SA {word} {}-{} spi:{spi} ({why})", end(local), end(remote)))
            }
            Event::QuickModeBegun { local, remote, initiator } => {
                let word = if *initiator { "initiate" } else { "respond" };
                ("INFO", format!("{word} new phase 2 negotiation: {}<=>{}", end(local), end(remote)))
            }
            Event::PairEstablished { inbound, outbound, .. } => {
                self.line("INFO", &format!("IPsec-SA established: {}", sa(inbound)));
                ("INFO", format!("IPsec-SA established: {}", sa(outbound)))
            }
            Event::PairDeleted { inbound, outbound, why } => {
                self.line("INFO", &format!("IPsec-SA expired: {} ({why})", sa(inbound)));
                ("INFO", format!("IPsec-SA expired: {} ({why})", sa(outbound)))
            }
            Event::PeerDead { remote } => ("INFO", format!("DPD: remote {remote} seems to be dead.")),
            Event::InitialContact { remote } => ("INFO", format!("received INITIAL-CONTACT from {remote}")),
            Event::Failure(failure) => ("ERROR", failure.to_string()),
        };
        self.line(level, &text);
    }
}

fn end(address: &SocketAddr) -> String {
    format!("{}[{}]", address.ip(), address.port())
}

fn sa(id: &SaId) -> String {
    let spi = id.spi.0;
    format!("ESP/Transport {}[500]->{}[500] spi={spi}(0x{spi:x})", id.source, id.destination)
}
