//! The kernel as data plane: its SPD and SAD over XFRM netlink or over PF_KEY, its GRE tunnels.
//!
//! What is made here ends with the daemon, in the order that lets nothing out in clear: tunnels, SAs, policies. What a
//! crash leaves over is recognised by marks that the kernel keeps (`coati_xfrm`, `coati_pfkey`, and the alias of an
//! interface).

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;

use coati_config::rc_conf::GreTunnel;
use coati_config::site::Site;
use coati_os::keepalive::KeepaliveSocket;
use coati_os::netlink::{Gre, Netlink};
use coati_os::pfkey::PfKeySockets;
use coati_os::xfrm::XfrmSockets;
use coati_os::{PF_KEY_LAYOUT, PF_KEY_MODULE};
use coati_router::{Plane, Tunnel};
use coati_sadb::{Refusal, Selector};
use zeroize::Zeroizing;

use super::log::{Level, Log};
use super::{dress_tunnel, set_fallback_aside, tunnel_of, while_doing};

/// What is written to the interfaces that are made here.
const ALIAS: &str = "made by coati, ends with it";
/// TTL of outer headers. It is never inherited: OSPF's inner TTL of 1 would die at the first router.
const OUTER_TTL: u8 = 64;
/// The kernel knows no such kind of interface; there is one already.
const EOPNOTSUPP: i32 = 95;
const EEXIST: i32 = 17;
/// Whether the kernel drops packets that wait for an SA; without that it keeps up to a hundred for each policy.
const LARVAL_DROP: &str = "/proc/sys/net/core/xfrm_larval_drop";
/// Counters of packets that met something wrong.
const STATISTICS: &str = "/proc/thread-self/net/xfrm_stat";

/// Sockets of either kind.
struct Sockets<S>(S);

impl coati_xfrm::Sockets for Sockets<XfrmSockets> {
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
        self.0.ask(request)
    }

    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.0.hear()
    }

    fn counters(&self) -> Vec<(String, u64)> {
        counters()
    }

    fn interface(&self, name: &str) -> Option<u32> {
        self.0.interface(name)
    }

    fn interface_name(&self, number: u32) -> Option<String> {
        self.0.interface_name(number)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        // Nobody else's can be a socket's own.
        UdpSocket::bind((address, 0)).is_ok()
    }
}

impl coati_pfkey::Sockets for Sockets<PfKeySockets> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.send(message)
    }

    fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        self.0.receive()
    }

    fn register(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.register(message)
    }

    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.0.hear()
    }

    fn counters(&self) -> Vec<(String, u64)> {
        counters()
    }
}

fn counters() -> Vec<(String, u64)> {
    // Kernels may be built without.
    let text = fs::read_to_string(STATISTICS).unwrap_or_default();
    let counter = |line: &str| {
        let (name, count) = line.split_once(char::is_whitespace)?;
        Some((format!("kernel: {name}"), count.trim().parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

/// The kernel's databases over XFRM netlink, and a descriptor that can be read when it has said something.
pub(super) fn xfrm(tunnels: &[Tunnel], log: &mut Log) -> io::Result<(Plane, OwnedFd)> {
    let sockets = xfrm_sockets()?;
    let news = sockets.news()?;
    let (home, left) =
        coati_xfrm::home(Sockets(sockets), packets(tunnels)).map_err(|why| refused("xfrm", why))?;
    tell_of_leftovers(log, left.sas, left.policies);
    Ok((Plane::in_kernel(Box::new(home)), news))
}

/// The same over PF_KEY.
pub(super) fn pfkey(tunnels: &[Tunnel], log: &mut Log) -> io::Result<(Plane, OwnedFd)> {
    let sockets = pfkey_sockets()?;
    let news = sockets.news()?;
    let (home, left) = coati_pfkey::home(Sockets(sockets), PF_KEY_LAYOUT, packets(tunnels))
        .map_err(|why| refused("pfkey", why))?;
    tell_of_leftovers(log, left.sas, left.policies);
    if let Some(largest) = coati_pfkey::largest_window(PF_KEY_LAYOUT) {
        let text = format!("over PF_KEY this kernel has replay windows of {largest} packets at the most");
        log.line(Level::Info, &text);
    }
    Ok((Plane::in_kernel(Box::new(home)), news))
}

/// Sockets for XFRM, or what would give them.
pub(super) fn xfrm_sockets() -> io::Result<XfrmSockets> {
    XfrmSockets::new().map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "run it as root",
            io::ErrorKind::Unsupported => "or --dataplane embedded",
            _ => "load the kernel's module xfrm_user",
        };
        io::Error::new(error.kind(), format!("--dataplane xfrm: netlink for XFRM: {error} ({advice})"))
    })
}

/// The same for PF_KEY.
pub(super) fn pfkey_sockets() -> io::Result<PfKeySockets> {
    PfKeySockets::new().map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "run it as root",
            _ => PF_KEY_MODULE,
        };
        io::Error::new(error.kind(), format!("--dataplane pfkey: a PF_KEY socket: {error} ({advice})"))
    })
}

/// What must never leave in clear.
fn packets(tunnels: &[Tunnel]) -> Vec<Selector> {
    tunnels.iter().map(Tunnel::packets).collect()
}

fn tell_of_leftovers(log: &mut Log, sas: usize, policies: usize) {
    if sas + policies > 0 {
        let text = format!(
            "a predecessor did not end in order: its SAs are removed ({sas}), its policies stay until ours are there \
             ({policies})"
        );
        log.line(Level::Warning, &text);
    }
}

fn refused(dataplane: &str, refusal: Refusal) -> io::Error {
    let kind = match refusal {
        Refusal::Unsupported(_) => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("--dataplane {dataplane}: {refusal} (or use --dataplane embedded)"))
}

/// GRE tunnels of the kernel; dropped, they go.
pub(super) struct GreTunnels {
    netlink: Netlink,
    made: Vec<u32>,
    /// For keepalives out of them.
    keepalives: Vec<(Tunnel, KeepaliveSocket)>,
    _held_packets: Option<Setting>,
}

impl GreTunnels {
    /// Makes those of rc.conf and takes them up. The policies have to be there already.
    pub(super) fn make(site: &Site, log: &mut Log) -> io::Result<Self> {
        let mut netlink = Netlink::new().map_err(while_doing("netlink"))?;
        let mut crashed = false;
        for link in netlink.links()?.iter().filter(|link| link.alias == ALIAS) {
            crashed = true;
            log.line(Level::Warning, &format!("{}: a predecessor has left it over: removed", link.name));
            netlink.delete_link(link.index)?;
        }
        // The first packet waits for its SA rather than be lost, where the kernel lets us say so.
        let mut held = Setting::set(Path::new(LARVAL_DROP), "0").ok();
        if let Some(setting) = held.as_mut().filter(|_| crashed) {
            // What is found is the predecessor's, and what was before that is most likely what is usual.
            setting.before = "1".to_owned();
        }
        let mut tunnels = Self { netlink, made: Vec::new(), keepalives: Vec::new(), _held_packets: held };
        for tunnel in &site.rc.tunnels {
            tunnels.make_one(tunnel, site, log)?;
        }
        Ok(tunnels)
    }

    fn make_one(&mut self, tunnel: &GreTunnel, site: &Site, log: &mut Log) -> io::Result<()> {
        let Self { netlink, made, keepalives, .. } = self;
        let doing = || while_doing(format!("tunnel interface {} (GRE)", tunnel.name));
        set_fallback_aside(netlink, &tunnel.name)?;
        let gre = Gre {
            name: tunnel.name.clone(),
            local: tunnel.local,
            remote: tunnel.remote,
            ttl: OUTER_TTL,
            key: tunnel.key,
        };
        netlink.add_gre(&gre).map_err(|error| {
            let advice = match error.raw_os_error() {
                Some(EOPNOTSUPP) if tunnel.local.is_ipv4() => "the kernel has no GRE: load its module ip_gre",
                Some(EOPNOTSUPP) => "the kernel has no GRE over IPv6: load its module ip6_gre",
                Some(EEXIST) => {
                    "an interface of this name, or a tunnel between these addresses, is there already"
                }
                _ => "making it failed",
            };
            io::Error::new(error.kind(), format!("tunnel interface {}: {error} ({advice})", tunnel.name))
        })?;
        let link = netlink.link(&tunnel.name).map_err(doing())?;
        made.push(link.index);
        netlink.set_alias(link.index, ALIAS).map_err(doing())?;
        match KeepaliveSocket::new(link.index, tunnel.local) {
            Ok(socket) => keepalives.push((tunnel_of(tunnel), socket)),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                log.line(Level::Info, &format!("{}: {error}", tunnel.name));
            }
            Err(error) => return Err(doing()(error)),
        }
        dress_tunnel(netlink, link.index, tunnel, &site.rc.addresses_v6).map_err(doing())
    }

    /// The sockets for keepalives that come out of them, once.
    pub(super) fn take_keepalives(&mut self) -> Vec<(Tunnel, KeepaliveSocket)> {
        std::mem::take(&mut self.keepalives)
    }
}

impl Drop for GreTunnels {
    fn drop(&mut self) {
        for index in self.made.drain(..) {
            // There is nobody to tell; the next start looks for what is left.
            let _ = self.netlink.delete_link(index);
        }
    }
}

/// A setting of the kernel that gets its old value back when this is dropped.
struct Setting {
    path: &'static Path,
    before: String,
}

impl Setting {
    fn set(path: &'static Path, value: &str) -> io::Result<Self> {
        let before = fs::read_to_string(path)?;
        fs::write(path, value)?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(self.path, &self.before);
    }
}
