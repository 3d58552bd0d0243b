//! What is measured.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coati_os::raw::OspfSocket;
use coati_wire::ospf::{Lsa, RouterLink};

use crate::grid::{Change, Grid, MEASURED, MEASURED_ADDRESS, SPEAKER_ADDRESS, USUAL, router_lsa};
use crate::net::{Namespace, Watch};
use crate::router::{ALL, Conf, Kind, Router};
use crate::speaker::{Role, Speaker};

/// What it is run with.
pub struct Bench {
    pub coati: PathBuf,
    pub work: PathBuf,
    pub quick: bool,
}

/// Beyond the dead interval, the waiting for other hellos and for elections.
const LONG: Duration = Duration::from_secs(120);
/// Between two changes: FRR's delays are back where they begin, and BIRD's tick has been.
const CALM: Duration = Duration::from_millis(2500);

/// Figures by row and column.
#[derive(Default)]
struct Figures(Vec<(String, BTreeMap<String, Vec<f64>>)>);

impl Figures {
    fn add(&mut self, row: &str, column: &str, figure: f64) {
        println!("  {row}: {column} {figure:.3}");
        let index = match self.0.iter().position(|(found, _)| found == row) {
            Some(index) => index,
            None => {
                self.0.push((row.to_owned(), BTreeMap::new()));
                self.0.len() - 1
            }
        };
        if let Some((_, columns)) = self.0.get_mut(index) {
            columns.entry(column.to_owned()).or_default().push(figure);
        }
    }

    /// As Markdown: medians, and for everybody but the first how many times the first one's it is.
    fn table(&mut self, head: &str, columns: &[String]) -> String {
        let mut text = format!("| {head} |");
        let mut line = "|---|".to_owned();
        for (index, column) in columns.iter().enumerate() {
            let _ = write!(text, " {column} |");
            line += "---:|";
            if index > 0 {
                let _ = write!(text, " ratio |");
                line += "---:|";
            }
        }
        let _ = writeln!(text, "\n{line}");
        for (row, figures) in &mut self.0 {
            let _ = write!(text, "| {row} |");
            let mut first = None;
            for (index, column) in columns.iter().enumerate() {
                let value = figures.get_mut(column).map(|list| median(list));
                let _ = match value {
                    Some(value) => write!(text, " {} |", short(value)),
                    None => write!(text, " - |"),
                };
                if index == 0 {
                    first = value;
                } else {
                    let _ = match first.zip(value).filter(|(first, _)| *first > 0.0) {
                        Some((first, value)) => write!(text, " {} |", short(value / first)),
                        None => write!(text, " |"),
                    };
                }
            }
            text += "\n";
        }
        text
    }
}

/// Three digits that say something.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

fn names() -> Vec<String> {
    ALL.iter().map(ToString::to_string).collect()
}

/// Both ends of a link, each with a network behind it: 10.1.0.0/24 and 10.2.0.0/24.
struct Pair {
    ends: [Namespace; 2],
    /// What is between, where something is.
    middle: Option<Namespace>,
}

impl Pair {
    fn new(name: &str, with_middle: bool) -> io::Result<Self> {
        let ends = [Namespace::new(&format!("{name}-a"))?, Namespace::new(&format!("{name}-b"))?];
        let middle = match with_middle {
            true => Some(Namespace::new(&format!("{name}-m"))?),
            false => None,
        };
        match &middle {
            None => crate::net::ip(&format!(
                "link add e0 netns {} type veth peer name e0 netns {}",
                ends[0].name, ends[1].name
            ))?,
            Some(middle) => {
                middle.ip("link add bridge type bridge mcast_snooping 0")?;
                middle.ip("link set bridge up")?;
                for (end, port) in ends.iter().zip(["to-a", "to-b"]) {
                    let (there, here) = (&end.name, &middle.name);
                    crate::net::ip(&format!(
                        "link add e0 netns {there} type veth peer name {port} netns {here}"
                    ))?;
                    middle.ip(&format!("link set {port} master bridge up"))?;
                }
            }
        }
        for (end, number) in ends.iter().zip([1, 2]) {
            end.ip(&format!("addr add 203.0.113.{number}/30 dev e0"))?;
            end.ip("link add stub0 type veth peer name stub0-end")?;
            end.ip("link set stub0-end up")?;
            end.ip(&format!("addr add 10.{number}.0.1/24 dev stub0"))?;
            end.ip("link set stub0 up")?;
        }
        Ok(Self { ends, middle })
    }
}

/// The networks behind the ends of a [`Pair`].
const BEHIND_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 0);
const BEHIND_B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 0);

impl Bench {
    fn start(&self, kind: Kind, namespace: &Namespace, conf: &Conf) -> io::Result<Router> {
        Router::start(kind, &self.coati, namespace, &self.work.join(&namespace.name), conf)
    }

    /// From a link that comes up to Full and to the route; from a start beside a neighbour that is Full to Full.
    pub fn full(&self) -> io::Result<String> {
        let runs = if self.quick { 1 } else { 3 };
        let pairs = [
            (Kind::Coati, Kind::Coati),
            (Kind::Frr, Kind::Frr),
            (Kind::Bird, Kind::Bird),
            (Kind::Coati, Kind::Frr),
            (Kind::Coati, Kind::Bird),
        ];
        let column = |(one, other): (Kind, Kind)| format!("{one}–{other}");
        let mut figures = Figures::default();
        for run in 1..=runs {
            println!("full: {run} of {runs}, all pairs at one time");
            let results = std::thread::scope(|scope| {
                let threads: Vec<_> = [false, true]
                    .into_iter()
                    .flat_map(|broadcast| pairs.map(|pair| (broadcast, pair)))
                    .enumerate()
                    .map(|(index, (broadcast, pair))| {
                        let work = move || self.full_once(&format!("p{index}"), pair, broadcast);
                        (broadcast, pair, scope.spawn(work))
                    })
                    .collect();
                let join = |(broadcast, pair, thread): (
                    bool,
                    (Kind, Kind),
                    std::thread::ScopedJoinHandle<'_, _>,
                )| {
                    (broadcast, pair, thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic"))))
                };
                threads.into_iter().map(join).collect::<Vec<(bool, (Kind, Kind), io::Result<[f64; 4]>)>>()
            });
            for (broadcast, pair, result) in results {
                let network = if broadcast { "broadcast" } else { "point-to-point" };
                match result {
                    Ok(took) => {
                        let whats = [
                            "link up -> both Full, s",
                            "link up -> both have routes, s",
                            "restart -> Full, s",
                            "link away and back -> both Full, s",
                        ];
                        for (what, took) in whats.into_iter().zip(took) {
                            figures.add(&format!("{network}: {what}"), &column(pair), took / 1e3);
                        }
                    }
                    Err(error) => println!("  {} on {network} is left out: {error}", column(pair)),
                }
            }
        }
        let columns = pairs.map(column);
        Ok(figures.table("hello 10, dead 40", &columns))
    }

    fn full_once(&self, name: &str, (one, other): (Kind, Kind), broadcast: bool) -> io::Result<[f64; 4]> {
        let pair = Pair::new(name, false)?;
        let [a, b] = &pair.ends;
        for end in [a, b] {
            // They know each other from no earlier run.
            let _ = std::fs::remove_file(self.work.join(&end.name).with_extension("state"));
        }
        let conf = |id| Conf { broadcast, stub: true, log: true, ..Conf::new(id) };
        let watches = [Watch::new(a)?, Watch::new(b)?];
        let mut router_a = self.start(one, a, &conf("1.1.1.1"))?;
        let router_b = self.start(other, b, &conf("2.2.2.2"))?;
        std::thread::sleep(Duration::from_secs(3));
        // Without carrier, until the other end is up too.
        b.ip("link set e0 up")?;
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        a.ip("link set e0 up")?;
        let full = router_a.wait_full(0, LONG)?.max(router_b.wait_full(0, LONG)?);
        let no_route = || io::Error::other("no route");
        let [watch_a, watch_b] = &watches;
        let at_a = watch_a.wait(BEHIND_B, true, LONG).ok_or_else(no_route)?;
        let at_b = watch_b.wait(BEHIND_A, true, LONG).ok_or_else(no_route)?;
        // The neighbour knows all by then.
        std::thread::sleep(Duration::from_secs(7));
        router_a.kill();
        let again = Instant::now();
        let router_a = self.start(one, a, &conf("1.1.1.1"))?;
        let full_again = router_a.wait_full(0, LONG)?;
        // Both lose the link and get it back.
        std::thread::sleep(Duration::from_secs(7));
        let fulls = [router_a.fulls(), router_b.fulls()];
        for end in [a, b] {
            end.ip("link set e0 down")?;
        }
        std::thread::sleep(Duration::from_secs(2));
        b.ip("link set e0 up")?;
        let back = Instant::now();
        a.ip("link set e0 up")?;
        let full_back = router_a.wait_full(fulls[0], LONG)?.max(router_b.wait_full(fulls[1], LONG)?);
        Ok([ms(began, full), ms(began, at_a.max(at_b)), ms(again, full_again), ms(back, full_back)])
    }

    /// A grid that a speaker tells of: synchronised, computed, changed, remembered.
    pub fn sync(&self) -> io::Result<String> {
        let sides: &[(usize, usize)] = match self.quick {
            true => &[(10, 1), (100, 1)],
            false => &[(10, 1), (32, 1), (100, 3), (316, 1)],
        };
        let mut figures = Figures::default();
        for (side, runs) in sides {
            let grid = Grid(*side);
            let lsas = grid.lsas();
            for run in 1..=*runs {
                for kind in ALL {
                    println!("sync: {kind}, {} LSAs, {run} of {runs}; load {}", grid.len(), load());
                    if let Err(error) = self.sync_once(kind, grid, &lsas, &mut figures) {
                        println!("  {kind} with {} LSAs is left out: {error}", grid.len());
                    }
                }
            }
        }
        Ok(figures.table("a grid of routers, told of by one neighbour", &names()))
    }

    fn sync_once(&self, kind: Kind, grid: Grid, lsas: &[Lsa], figures: &mut Figures) -> io::Result<()> {
        let (measured, other) = (Namespace::new("measured")?, Namespace::new("speaker")?);
        crate::net::ip("link add e0 netns measured type veth peer name e0 netns speaker")?;
        measured.ip(&format!("addr add {MEASURED_ADDRESS}/30 dev e0"))?;
        other.ip(&format!("addr add {SPEAKER_ADDRESS}/30 dev e0"))?;
        other.ip("link set e0 up")?;
        measured.ip("link set e0 up")?;
        let watch = Watch::new(&measured)?;
        let router = self.start(kind, &measured, &Conf::new("1.1.1.1"))?;
        std::thread::sleep(Duration::from_secs(3));
        let empty = router.private_memory();
        let index = other.index("e0")?;
        let socket = other.within(|| OspfSocket::new("e0", index, SPEAKER_ADDRESS))?;
        let (before, own_before) = (router.cpu(), router.own_cpu());
        let began = Instant::now();
        let role = Role { socket, router_id: Grid::id(0) };
        let speaker = Speaker::start(vec![role], MEASURED, lsas.to_vec());
        let done = watch.wait_count(grid.len(), LONG)?;
        // What is computed twice or told to others belongs to it.
        std::thread::sleep(Duration::from_secs(2));
        let (column, n) = (kind.to_string(), grid.len());
        let mut add = |what: &str, figure| figures.add(&format!("{n} LSAs: {what}"), &column, figure);
        add("CPU until all routes are in the kernel, ms", router.cpu() - before);
        add("of that without the kernel's part, ms", router.own_cpu() - own_before);
        add("wall time until then, ms", ms(began, done));
        let counts = speaker.counts().clone();
        add("descriptions and requests (round trips)", (counts.descriptions + counts.requests) as f64);
        add("packets from and to it", (counts.sent + counts.received) as f64);
        let (memory, each) = router.memory();
        let private = router.private_memory();
        println!("  memory: {each} MB; without code {private:.1}, {empty:.1} before");
        add("memory, MB", memory);
        add("memory without code, MB", private);
        add("the same beyond that of an empty one, KB for each LSA", (private - empty) * 1e3 / n as f64);

        // What it costs to do nothing in the same time.
        let rest = {
            std::thread::sleep(CALM);
            let before = router.cpu();
            std::thread::sleep(2 * CALM);
            (router.cpu() - before) / 2.0
        };
        println!("  at rest: {rest:.3} ms in {} s", CALM.as_secs_f64());
        let changes = if self.quick { 4 } else { 6 };
        let (far, mut instance) = (grid.far(), 0);
        let (mut cpu, mut latency, mut spf) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..changes {
            instance += 1;
            let network = turn % 2 == 1;
            watch.forget();
            let before = router.cpu();
            speaker.flood(vec![grid.lsa(far, instance, Change { network, ..USUAL })]);
            let at = watch.wait(Grid::network(far), network, LONG);
            std::thread::sleep(CALM);
            cpu.push((router.cpu() - before - rest).max(0.0));
            let sent = speaker.counts().flooded;
            let (Some(at), Some(sent)) = (at, sent) else {
                return Err(io::Error::other("a change was lost"));
            };
            latency.push(ms(sent, at));
        }
        add("a leaf changes: CPU, ms", median(&mut cpu));
        add("a leaf changes: LSA -> route, ms", median(&mut latency));
        let mut cpu = Vec::new();
        for turn in 0..changes {
            let metric = if turn % 2 == 0 { 40 } else { 0 };
            let before = router.cpu();
            speaker.flood(vec![grid.lsa(0, turn + 1, Change { metric, ..USUAL })]);
            std::thread::sleep(CALM);
            cpu.push((router.cpu() - before - rest).max(0.0));
            spf.extend(router.last_spf());
        }
        add("a link changes, all paths anew: CPU, ms", median(&mut cpu));
        if !spf.is_empty() {
            add("the same by FRR's own clock, ms", median(&mut spf));
        }
        Ok(())
    }

    /// A way that takes no more packets, while interfaces stay up: when the route goes.
    pub fn cut(&self) -> io::Result<String> {
        let mut figures = Figures::default();
        let copies = if self.quick { 1 } else { 5 };
        println!("cut: hello 10, dead 40, {copies} of each at one time");
        let results: Vec<(Kind, io::Result<Vec<f64>>)> = std::thread::scope(|scope| {
            let many = (0..copies).flat_map(|_| ALL).enumerate();
            let threads: Vec<_> = many
                .map(|(index, kind)| {
                    (kind, scope.spawn(move || self.cut_pair(&format!("c{index}"), kind, false, 1)))
                })
                .collect();
            let panicked = |_| Err(io::Error::other("a panic"));
            threads.into_iter().map(|(kind, thread)| (kind, thread.join().unwrap_or_else(panicked))).collect()
        });
        let mut take = |row: &str, kind: Kind, result: io::Result<Vec<f64>>| match result {
            Ok(list) => list.into_iter().for_each(|took| figures.add(row, &kind.to_string(), took)),
            Err(error) => println!("  {kind} is left out: {error}"),
        };
        for (kind, result) in results {
            take("hello 10, dead 40: the route is gone after, ms", kind, result);
        }
        for kind in ALL {
            println!("cut: {kind} with BFD");
            let result = self.cut_pair("bfd", kind, true, if self.quick { 1 } else { 5 });
            take("BFD, three at 100 ms: the route is gone after, ms", kind, result);
        }
        Ok(figures.table("a silent cut between two of a kind", &names()))
    }

    fn cut_pair(&self, name: &str, kind: Kind, bfd: bool, runs: usize) -> io::Result<Vec<f64>> {
        let pair = Pair::new(name, true)?;
        let [a, b] = &pair.ends;
        let Some(middle) = &pair.middle else { return Err(io::Error::other("nothing is between")) };
        let conf = |id| Conf { stub: true, log: true, bfd, ..Conf::new(id) };
        let watch = Watch::new(a)?;
        a.ip("link set e0 up")?;
        b.ip("link set e0 up")?;
        let router_a = self.start(kind, a, &conf("1.1.1.1"))?;
        let _router_b = self.start(kind, b, &conf("2.2.2.2"))?;
        let mut took = Vec::new();
        for run in 0..runs {
            watch.wait(BEHIND_B, true, LONG).ok_or_else(|| io::Error::other("no route"))?;
            router_a.wait_full(run, LONG)?;
            // BFD begins with a packet a second; a hello may be about to come.
            std::thread::sleep(Duration::from_millis(8000 + 700 * run as u64));
            let last = watch.look().news.iter().rev().find(|(.., network)| *network == BEHIND_B).copied();
            if last.is_none_or(|(_, there, _)| !there) {
                return Err(io::Error::other("the route was gone before the cut: the machine is too busy"));
            }
            watch.forget();
            let began = Instant::now();
            middle.ip("link set to-b nomaster")?;
            let gone = watch.wait(BEHIND_B, false, LONG);
            took.push(ms(began, gone.ok_or_else(|| io::Error::other("the route stays"))?));
            watch.forget();
            middle.ip("link set to-b master bridge")?;
        }
        Ok(took)
    }

    /// CPU with 500 neighbours, each behind an interface of its own, when nothing happens.
    pub fn rest(&self) -> io::Result<String> {
        let mut figures = Figures::default();
        let count = if self.quick { 100 } else { 500 };
        for kind in ALL {
            println!("rest: {kind} with {count} neighbours; load {}", load());
            if let Err(error) = self.rest_once(kind, count, &mut figures) {
                println!("  {kind} is left out: {error}");
            }
        }
        Ok(figures.table("neighbours on interfaces of their own, hello 10, all of them Full", &names()))
    }

    fn rest_once(&self, kind: Kind, count: usize, figures: &mut Figures) -> io::Result<()> {
        let (hub, spokes) = (Namespace::new("hub")?, Namespace::new("spokes")?);
        // FRR has one socket for all interfaces, and a socket is usually a member of twenty groups at the most.
        let mut limit = hub.command("sh");
        limit.args(["-c", "echo 2000 > /proc/sys/net/ipv4/igmp_max_memberships"]).status()?;
        let network = |spoke: usize| 0xac10_0000 + 4 * spoke as u32;
        let address = |spoke: usize, end: u32| Ipv4Addr::from(network(spoke) + end);
        let add = |n| format!("link add e{n} type veth peer name s{n} netns spokes");
        hub.batch(&(0..count).map(add).collect::<Vec<_>>())?;
        for (namespace, prefix, end) in [(&hub, "e", 1), (&spokes, "s", 2)] {
            let lines = (0..count).flat_map(|n| {
                let address = address(n, end);
                [format!("addr add {address}/30 dev {prefix}{n}"), format!("link set {prefix}{n} up")]
            });
            namespace.batch(&lines.collect::<Vec<_>>())?;
        }
        let id = |spoke: usize| Ipv4Addr::from(0x0a00_0001 + spoke as u32);
        let spoke_network = |spoke: usize| Ipv4Addr::from(0x1400_0000 + ((spoke as u32) << 8));
        let lsa = |spoke: usize| {
            let (kind, mask) = (RouterLink::POINT_TO_POINT, Ipv4Addr::new(255, 255, 255, 0));
            let links = vec![
                RouterLink { id: MEASURED, data: address(spoke, 2), kind, metric: 10 },
                RouterLink { id: spoke_network(spoke), data: mask, kind: RouterLink::STUB, metric: 10 },
            ];
            router_lsa(id(spoke), 0, links)
        };
        let roles = spokes.within(|| {
            (0..count)
                .map(|spoke| {
                    let name = format!("s{spoke}");
                    let index = rustix::net::netdevice::name_to_index(
                        rustix::net::socket(
                            rustix::net::AddressFamily::INET,
                            rustix::net::SocketType::DGRAM,
                            None,
                        )?,
                        &name,
                    )?;
                    let socket = OspfSocket::new(&name, index, address(spoke, 2))?;
                    Ok(Role { socket, router_id: id(spoke) })
                })
                .collect::<io::Result<Vec<Role>>>()
        })?;
        let watch = Watch::new(&hub)?;
        let conf = Conf { interfaces: (0..count).map(|n| format!("e{n}")).collect(), ..Conf::new("1.1.1.1") };
        let router = self.start(kind, &hub, &conf)?;
        std::thread::sleep(Duration::from_secs(5));
        let began = (Instant::now(), router.cpu());
        let speaker = Speaker::start(roles, MEASURED, (0..count).map(lsa).collect());
        let done = watch.wait_count(count, LONG)?;
        // Hellos are spread by then, and nothing waits for MinLSInterval any more.
        std::thread::sleep(Duration::from_secs(if self.quick { 10 } else { 30 }));
        let mut add = |what: &str, figure| {
            figures.add(&format!("{count} neighbours: {what}"), &kind.to_string(), figure)
        };
        add("CPU until all of them are Full, ms", router.cpu() - began.1);
        add("all routes after, ms", ms(began.0, done));
        let before = (router.cpu(), speaker.counts().received);
        let seconds = if self.quick { 10 } else { 30 };
        std::thread::sleep(Duration::from_secs(seconds));
        let received = speaker.counts().received - before.1;
        println!("  {received} packets from it in {seconds} s, {} neighbours", speaker.counts().exchanged);
        add("CPU at rest, ms a second", (router.cpu() - before.0) / seconds as f64);
        add("memory, MB", router.memory().0);
        Ok(())
    }
}

/// How busy the machine is.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
