//! One seed, one trial: the how-to's two routers with a mix of everything an internet and its people do to them, and
//! what has to hold whatever that was.
//!
//! * Nothing leaves in clear, ever.
//! * The two always come together again.
//! * When it is calm, one pair of SAs and one ISAKMP SA are left at both ends, and the same ones.
//! * Where nothing is lost on the way, no packet is lost at a renewal.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use coati_config::Source;
use coati_config::site::{Site, SiteFiles};
use coati_crypto::{RandomSource, SeededRandom};
use coati_sadb::{Request, SaState};

use crate::nat::Nat;
use crate::world::{Conditions, World};

const LAN_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
const LAN_B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);
/// The address of site a in the how-to: with a NAT, that one's.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// How long the two may take to come together: dead peer detection, then negotiations that are lost in part.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long it is calm at the end: several renewals of both phases.
const CALM: Duration = Duration::from_secs(240);
/// How long it may take until only one of everything is left: a replaced ISAKMP SA stays with the last of its pairs.
const TIDYING: Duration = Duration::from_secs(150);
/// SAs of one router while it is calm: a pair in use, one that is coming, one that is going, of which only the inbound
/// half is left, and as much again when both have renewed at once.
const MOST_SAS: usize = 6;

/// What is done to the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// Nothing arrives for so long.
    Cut(Duration),
    /// One loses all state.
    Restart(usize),
    /// Both do, the second so much later.
    RestartBoth(Duration),
    /// The NAT's mappings are gone.
    Rebind,
    /// One end flushes its SAs, as `setkey -F` does.
    Flush(usize),
    /// Both do, at the same time.
    FlushBoth,
}

/// How one seed goes.
#[derive(Clone, Debug)]
struct Plan {
    conditions: Conditions,
    /// Lifetimes of phase 1 and phase 2, in seconds.
    lifetimes: (u32, u32),
    nat: bool,
    forced: bool,
    aggressive: bool,
    pfs: bool,
    job_time: Duration,
    /// How much later the second router starts.
    late: Duration,
    ping_interval: Duration,
    /// After so long, this.
    blows: Vec<(Duration, Blow)>,
}

impl Plan {
    fn of(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed ^ 0x7472_6961_6c00);
        let mut below = |limit: u32| random.below(limit);
        let lossless = below(3) == 0;
        let loss = if lossless { 0 } else { 1 + below(25) };
        let shortest = 1 + u64::from(below(100));
        let spread = [0, 1, 10, 100].get(below(4) as usize).map_or(0, |most| u64::from(below(*most + 1)));
        let duplicates = below(2) * below(11);
        let delay = (Duration::from_millis(shortest), Duration::from_millis(shortest + spread));
        let conditions = Conditions { loss, duplicates, delay };
        let nat = below(3) == 0;
        let mut plan = Self {
            conditions,
            lifetimes: (90 + below(120), 40 + below(60)),
            nat,
            forced: !nat && below(4) == 0,
            aggressive: below(8) == 0,
            pfs: below(2) == 0,
            job_time: Duration::from_millis(u64::from(below(2) * below(40))),
            late: Duration::from_millis(u64::from(below(2) * below(5000))),
            ping_interval: Duration::from_millis(50 + u64::from(below(450))),
            blows: Vec::new(),
        };
        for _ in 0..1 + below(4) {
            let after = Duration::from_millis(1000 + u64::from(below(90_000)));
            let side = below(2) as usize;
            let blow = match below(6) {
                0 => Blow::Cut(Duration::from_millis(500 + u64::from(below(90_000)))),
                1 => Blow::Restart(side),
                2 => Blow::RestartBoth(Duration::from_millis(u64::from(below(2) * below(3000)))),
                3 if nat => Blow::Rebind,
                3 | 4 => Blow::FlushBoth,
                _ => Blow::Flush(side),
            };
            plan.blows.push((after, blow));
        }
        plan
    }

    /// The how-to's files with what the plan changes.
    fn sites(&self) -> Vec<(String, Site)> {
        macro_rules! files {
            ($name:literal) => {
                ["racoon.conf", "psk.txt", "setkey.conf", "ospfd.conf", "rc.conf"].into_iter().zip([
                    include_str!(concat!("../../../examples/seed/", $name, "/racoon.conf")),
                    include_str!(concat!("../../../examples/seed/", $name, "/psk.txt")),
                    include_str!(concat!("../../../examples/seed/", $name, "/setkey.conf")),
                    include_str!(concat!("../../../examples/seed/", $name, "/ospfd.conf")),
                    include_str!(concat!("../../../examples/seed/", $name, "/rc.conf")),
                ])
            };
        }
        let a = files!("freebsd-a").map(|(file, text)| (file, self.edited(text, self.nat)));
        let b = files!("freebsd-b").map(|(file, text)| (file, self.edited(text, false)));
        vec![("a".into(), site("a", a)), ("b".into(), site("b", b))]
    }

    fn edited(&self, text: &str, behind_nat: bool) -> String {
        let (phase1, phase2) = self.lifetimes;
        let mode = if self.aggressive { "exchange_mode aggressive;" } else { "exchange_mode main;" };
        let nat = match (self.nat, self.forced) {
            (true, _) => "\nnat_traversal on;",
            (_, true) => "\nnat_traversal force;",
            _ => "",
        };
        let text = text
            .replace("lifetime time 8 hour", &format!("lifetime time {phase1} sec"))
            .replace("lifetime time 4 hour", &format!("lifetime time {phase2} sec"))
            .replace("exchange_mode main;", &format!("{mode}{nat}"))
            .replace("pfs_group 2;", if self.pfs { "pfs_group 2;" } else { "" });
        if behind_nat { text.replace("192.0.2.1", "192.168.1.2") } else { text }
    }
}

fn site<'a>(name: &str, files: impl Iterator<Item = (&'a str, String)>) -> Site {
    let files: Vec<(&str, String)> = files.collect();
    let read = |wanted: &str| {
        let (_, text) = files.iter().find(|(file, _)| *file == wanted)?;
        Some(Source::new(format!("{name}/{wanted}"), text.clone()))
    };
    let files = SiteFiles {
        rc_conf: read("rc.conf"),
        racoon_conf: read("racoon.conf"),
        psk_txt: read("psk.txt"),
        setkey_conf: read("setkey.conf"),
        ospfd_conf: read("ospfd.conf"),
        ..SiteFiles::default()
    };
    Site::read(&files).0
}

/// A trial that is over.
pub struct Trial {
    plan: Plan,
    /// The network as it was left.
    pub world: World,
    /// What did not hold; nothing when all is well.
    pub broken: Option<String>,
    pings: Pings,
}

#[derive(Default)]
struct Pings {
    next: [u16; 2],
    /// From which site, by number, since the beginning.
    sent: Vec<(usize, u16, Duration)>,
}

impl Trial {
    /// Runs the trial of this seed, from the start of both routers to a calm end.
    pub fn run(seed: u64) -> Self {
        let plan = Plan::of(seed);
        let nat = plan.nat.then(|| Nat::new(0, PUBLIC));
        let mut world = World::start_behind(seed, plan.sites(), plan.conditions, nat);
        for index in 0..2 {
            world.router(index).job_time = plan.job_time;
        }
        let mut trial = Self { plan, world, broken: None, pings: Pings::default() };
        trial.broken = trial.live().err();
        if trial.world.clear_packets() != 0 && trial.broken.is_none() {
            trial.broken = Some(format!("{} GRE packets in clear", trial.world.clear_packets()));
        }
        trial
    }

    /// What this seed does to the two.
    pub fn describe(&self) -> String {
        format!("{:?}", self.plan)
    }

    fn live(&mut self) -> Result<(), String> {
        let plan = self.plan.clone();
        if !plan.late.is_zero() {
            self.live_for(plan.late);
            self.world.kill_and_restart(1);
        }
        for (after, blow) in &plan.blows {
            self.come_together()?;
            self.live_for(*after);
            self.strike(*blow);
        }
        self.come_together()?;
        self.be_calm()?;
        self.tidy_up()
    }

    fn strike(&mut self, blow: Blow) {
        self.world.remark(format!("{blow:?}"));
        match blow {
            Blow::Cut(duration) => {
                self.world.cut = true;
                self.live_for(duration);
                self.world.cut = false;
            }
            Blow::Restart(index) => self.world.kill_and_restart(index),
            Blow::RestartBoth(later) => {
                self.world.kill_and_restart(0);
                self.live_for(later);
                self.world.kill_and_restart(1);
            }
            Blow::Rebind => self.world.nat.iter_mut().for_each(Nat::rebind),
            Blow::Flush(index) => self.flush(&[index]),
            Blow::FlushBoth => self.flush(&[0, 1]),
        }
    }

    fn flush(&mut self, sides: &[usize]) {
        let time = self.world.time();
        for index in sides {
            self.world.router(*index).request(time, Request::Flush(None));
        }
    }

    /// Lets the network live while hosts at both ends ping each other.
    fn live_for(&mut self, duration: Duration) {
        let end = self.world.elapsed() + duration;
        while self.world.elapsed() < end {
            self.ping(0);
            self.ping(1);
            let left = end.saturating_sub(self.world.elapsed());
            self.world.run(self.plan.ping_interval.min(left));
        }
    }

    fn ping(&mut self, from: usize) {
        let (time, at) = (self.world.time(), self.world.elapsed());
        let number = self.pings.next[from];
        self.pings.next[from] = number.wrapping_add(1);
        self.pings.sent.push((from, number, at));
        let (source, destination) = if from == 0 { (LAN_A, LAN_B) } else { (LAN_B, LAN_A) };
        self.world.router(from).ping(time, source, destination, number);
    }

    fn unanswered(&self, since: usize) -> Vec<&(usize, u16, Duration)> {
        let answered: HashSet<(usize, u16)> = (0..2)
            .flat_map(|index| self.world.at(index).replies().iter().map(move |(_, id)| (index, *id)))
            .collect();
        self.pings.sent.iter().skip(since).filter(|(from, id, _)| !answered.contains(&(*from, *id))).collect()
    }

    /// Both have routes and tunnels, and a ping comes back in each direction.
    fn come_together(&mut self) -> Result<(), String> {
        let begun = self.world.elapsed();
        while self.world.elapsed() < begun + PATIENCE {
            let since = self.pings.sent.len();
            self.live_for(Duration::from_secs(1));
            if self.world.is_up() && self.both_answered(since) {
                return Ok(());
            }
        }
        Err(format!("not together again within {} s", PATIENCE.as_secs()))
    }

    fn both_answered(&self, since: usize) -> bool {
        let unanswered = self.unanswered(since);
        (0..2).all(|from| {
            let sent = self.pings.sent.iter().skip(since).filter(|(by, ..)| *by == from).count();
            unanswered.iter().filter(|(by, ..)| *by == from).count() < sent
        })
    }

    /// Renewals of both phases, and nothing else: no packet may be lost by them, and no SA be left.
    fn be_calm(&mut self) -> Result<(), String> {
        self.world.remark("calm from here on");
        // What the last blow has left behind ends first.
        self.live_for(Duration::from_secs(30));
        let since = self.pings.sent.len();
        let end = self.world.elapsed() + CALM;
        while self.world.elapsed() < end {
            self.live_for(Duration::from_secs(1));
            for index in 0..2 {
                let count = self.sas(index).len();
                if count > MOST_SAS {
                    return Err(format!("site {index} has {count} SAs though it is calm"));
                }
            }
        }
        let last = self.pings.sent.len();
        self.live_for(Duration::from_secs(1));
        if self.plan.conditions.loss > 0 {
            return Ok(());
        }
        let lost: Vec<String> = self
            .unanswered(since)
            .iter()
            .filter(|ping| self.pings.sent.iter().take(last).any(|other| other == **ping))
            .map(|(from, id, at)| format!("{id} of site {from} at {:.3} s", at.as_secs_f64()))
            .collect();
        match lost.first() {
            Some(first) => Err(format!("{} pings lost though nothing is, the first {first}", lost.len())),
            None => Ok(()),
        }
    }

    fn sas(&mut self, index: usize) -> Vec<coati_sadb::Sa> {
        let time = self.world.time();
        self.world.router(index).sas(time)
    }

    /// One of everything is left, at both ends the same.
    fn tidy_up(&mut self) -> Result<(), String> {
        self.world.conditions = Conditions::default();
        let end = self.world.elapsed() + TIDYING;
        let mut left = String::new();
        while self.world.elapsed() < end {
            self.live_for(Duration::from_secs(1));
            left = self.what_is_left();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(format!("more is left than one of everything, or not the same: {left}"))
    }

    fn what_is_left(&mut self) -> String {
        let mut text = String::new();
        let mut spis = Vec::new();
        let mut cookies = Vec::new();
        let time = self.world.time();
        for index in 0..2 {
            let sas = self.sas(index);
            let mature = sas.iter().filter(|sa| sa.state == SaState::Mature).count();
            let isakmp = self.world.at(index).control().isakmp(time);
            if sas.len() != 2 || mature != 2 || isakmp.len() != 1 {
                let states: Vec<String> =
                    sas.iter().map(|sa| format!("{} {:?}", sa.id.spi, sa.state)).collect();
                let isakmp: Vec<String> =
                    isakmp.iter().map(|sa| format!("{} {}", sa.initiator_cookie, sa.state)).collect();
                let _ = write!(text, "site {index}: SAs {states:?}, ISAKMP SAs {isakmp:?}; ");
            }
            let mut own: Vec<_> = sas.iter().map(|sa| sa.id.spi).collect();
            own.sort_unstable();
            spis.push(own);
            cookies.push(
                isakmp.into_iter().map(|sa| (sa.initiator_cookie, sa.responder_cookie)).collect::<Vec<_>>(),
            );
        }
        let same = |list: &[Vec<_>]| list.windows(2).all(|pair| pair.first() == pair.last());
        if text.is_empty() && !(same(&spis) && cookies.first() == cookies.last()) {
            let _ = write!(text, "{spis:?} {cookies:?}");
        }
        text
    }
}
