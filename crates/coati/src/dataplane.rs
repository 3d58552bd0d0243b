//! Where SAs, policies and tunnels live, and how that is chosen.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use coati_config::Severity;
use coati_config::site::Site;
use serde::{Deserialize, Serialize};

use crate::files::{self, Purpose};

/// A home for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataplane {
    /// In this program: its own ESP and GRE on TUN interfaces and raw sockets.
    Embedded,
    /// In the Linux kernel: XFRM and ip_gre.
    Xfrm,
    /// In the kernel, over PF_KEY, and its GRE: Linux' af_key or FreeBSD's ipsec(4).
    Pfkey,
}

impl Dataplane {
    /// All of them, the one that is taken first at the front.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::Xfrm, Self::Pfkey];

    /// The word of `--dataplane`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Xfrm => "xfrm",
            Self::Pfkey => "pfkey",
        }
    }

    /// What it is.
    pub fn what(self) -> &'static str {
        match self {
            Self::Embedded => "Coati does ESP and GRE itself",
            Self::Xfrm => "the Linux kernel does ESP and GRE",
            Self::Pfkey => "the kernel does ESP and GRE, told over PF_KEY",
        }
    }

    /// Whether a kernel has the databases and carries the packets.
    pub fn is_kernel(self) -> bool {
        self != Self::Embedded
    }

    /// The first thing in the files that it cannot do, whatever the machine.
    pub fn objection(self, site: &Site) -> Option<String> {
        let remarks = files::home_remarks(&site.statements, self);
        remarks.iter().find(|remark| remark.severity == Severity::Error).map(ToString::to_string)
    }
}

/// What `--dataplane` may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Wish {
    /// The first of the others that this machine has and that can do what the files say (`coati doctor` explains).
    #[default]
    Auto,
    /// In this program: its own ESP and GRE on TUN interfaces and raw sockets.
    Embedded,
    /// In the Linux kernel: XFRM and ip_gre.
    Xfrm,
    /// In the kernel, told over PF_KEY: af_key of Linux, or the BSDs' own.
    Pfkey,
}

/// A home, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which one.
    pub home: Dataplane,
    /// A sentence about what it is, and one about why.
    pub why: String,
}

impl Choice {
    fn new(home: Dataplane, why: impl Into<String>) -> Self {
        Self { home, why: why.into() }
    }

    /// For people: what it is, and why.
    pub fn explanation(&self) -> String {
        format!("{}: {} ({})", self.home.name(), self.home.what(), self.why)
    }
}

impl Wish {
    /// The home that is wished for; `None`: any.
    pub fn named(self) -> Option<Dataplane> {
        match self {
            Self::Auto => None,
            Self::Embedded => Some(Dataplane::Embedded),
            Self::Xfrm => Some(Dataplane::Xfrm),
            Self::Pfkey => Some(Dataplane::Pfkey),
        }
    }

    /// The first home that can do what the files say, whatever this machine has.
    pub fn for_files(self, site: &Site) -> Dataplane {
        let able = || Dataplane::ALL.into_iter().find(|home| home.objection(site).is_none());
        self.named().or_else(able).unwrap_or(Dataplane::Embedded)
    }

    /// Chooses for a router whose files are in `dir`. Kernels are tried only where the embedded data plane will not do.
    pub fn choose(self, dir: &Path) -> Choice {
        if let Some(home) = self.named() {
            return Choice::new(home, format!("--dataplane {} says so", home.name()));
        }
        // What is wrong with them is said by whoever reads them in earnest.
        let site =
            files::texts(dir, Purpose::Check).map(|(texts, _)| Site::read(&texts).0).unwrap_or_default();
        let hindrance = match Dataplane::Embedded.objection(&site) {
            Some(objection) => objection,
            None => match coati_os::tun::hindrance() {
                None => return Choice::new(Dataplane::Embedded, "it can do all that the files say"),
                Some(missing) => missing.to_owned(),
            },
        };
        let report = trial_in_another_process(dir).unwrap_or_default();
        match choose_from(&report) {
            Some(home) if home != Dataplane::Embedded => {
                Choice::new(home, format!("the embedded data plane will not do: {hindrance}"))
            }
            _ => Choice::new(
                Dataplane::Embedded,
                format!("no other one is possible here, though: {hindrance}"),
            ),
        }
    }
}

/// Whether a home is possible, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which one.
    pub home: Dataplane,
    /// `None`: it is.
    pub hindrance: Option<String>,
}

/// The first one that is possible.
pub fn choose_from(tried: &[Tried]) -> Option<Dataplane> {
    tried.iter().find(|tried| tried.hindrance.is_none()).map(|tried| tried.home)
}

/// What is asked of `coati doctor` here.
#[derive(Debug, Deserialize)]
struct Report {
    homes: Vec<Tried>,
}

/// Trials need a process of their own, which goes into a network namespace where it can hurt nobody.
fn trial_in_another_process(dir: &Path) -> Option<Vec<Tried>> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program).args(["doctor", "--json"]).arg(dir).output().ok()?;
    serde_json::from_slice::<Report>(&output.stdout).ok().map(|report| report.homes)
}
