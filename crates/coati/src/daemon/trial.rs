//! Trying a home out: everything that a start makes is made, and goes again.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use coati_config::site::Site;
use coati_os::netlink::Netlink;
use coati_os::tun;
use coati_router::Plane;
use coati_sadb::{
    Action, AuthAlgorithm, Direction, EncAlgorithm, Refusal, Reply, Request, Sa, SaId, SaProto, Secret, Spi,
};

use super::kernel_home::{self, GreTunnels};
use super::log::{Level, Log, LogForm, LogTarget};
use super::{RawSockets, apply_statements, make_inside, make_tunnel, open_home, randomness, tunnels_of};
use crate::clock::unix_seconds;
use crate::dataplane::Dataplane;

/// Whether a router with these files could live in this home, on this machine. For a process in a network namespace of its
/// own: tunnels, policies and SAs are made there for a moment.
pub fn try_home(site: &Site, home: Dataplane) -> io::Result<()> {
    let mut log = Log::open(LogTarget::File("/dev/null".into(), false), LogForm::Racoon, Level::Error)?;
    let tunnels = tunnels_of(site);
    let (mut plane, _news) = open_home(home, &tunnels, &mut log)?;
    apply_statements(&mut plane, site)?;
    plane.add_tunnels(tunnels);
    if home.is_kernel() {
        add_and_delete_sas(&mut plane, site)?;
        // Dropped before `plane`, as at the end of a daemon.
        drop(GreTunnels::make(site, &mut log)?);
        return Ok(());
    }
    RawSockets::open(site)?;
    let mut netlink = Netlink::new()?;
    for tunnel in &site.rc.tunnels {
        make_tunnel(&mut netlink, tunnel, &site.rc.addresses_v6)?;
    }
    if coati_router::needs_inside(site) {
        make_inside(&mut netlink, site)?;
    }
    Ok(())
}

/// What of a home can be seen on this machine without making anything: whether its devices and sockets are there. Where
/// there is no network of one's own to try it in.
pub fn look_at_home(site: &Site, home: Dataplane) -> io::Result<()> {
    match home {
        Dataplane::Embedded => {
            if let Some(missing) = tun::hindrance() {
                return Err(io::Error::other(missing));
            }
            RawSockets::open(site).map(drop)
        }
        Dataplane::Xfrm => kernel_home::xfrm_sockets().map(drop),
        Dataplane::Pfkey => kernel_home::pfkey_sockets().map(drop),
    }
}

/// Algorithms that the files let IKE agree upon or give keys for, each with the length of its key in bytes, salt included.
pub fn algorithms(site: &Site) -> Vec<(EncAlgorithm, usize, AuthAlgorithm)> {
    let mut list = Vec::new();
    for info in site.racoon.iter().flat_map(|racoon| &racoon.sainfos) {
        for (enc, bits) in info.encryption.iter().filter_map(|cipher| cipher.sadb()) {
            // Counter modes have a salt behind the key.
            let fits = |length: &&usize| **length >= usize::from(bits / 8);
            let key_len = enc.key_lengths().iter().find(fits).copied().unwrap_or(0);
            if enc.is_aead() {
                list.push((enc, key_len, AuthAlgorithm::None));
                continue;
            }
            let auths = info.authentication.iter().filter_map(|auth| auth.sadb());
            list.extend(auths.map(|auth| (enc, key_len, auth)));
        }
    }
    for statement in &site.statements {
        if let Request::Add(sa) = &statement.request
            && sa.id.proto == SaProto::Esp
        {
            list.push((sa.enc, sa.enc_key.len(), sa.auth));
        }
    }
    list.sort_unstable();
    list.dedup();
    list
}

/// The kernel says which algorithms it has when it gets an SA with them.
fn add_and_delete_sas(plane: &mut Plane, site: &Site) -> io::Result<()> {
    let tunnel = site.rc.tunnels.first().map(|tunnel| (tunnel.local, tunnel.remote));
    let host =
        site.policies().find(|(policy, _)| policy.direction == Direction::Out).and_then(|(policy, _)| {
            let Action::Ipsec(rules) = &policy.action else { return None };
            let ends = rules.iter().find_map(|rule| rule.endpoints);
            ends.or(Some((policy.selector.source.address, policy.selector.destination.address)))
        });
    let Some((source, destination)): Option<(IpAddr, IpAddr)> = tunnel.or(host) else { return Ok(()) };
    let mut random = randomness();
    let mut key = |length: usize| {
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        Secret::new(bytes)
    };
    for (enc, key_len, auth) in algorithms(site) {
        let id = SaId { source, destination, proto: SaProto::Esp, spi: Spi(0xc0a7_1000) };
        let sa = Sa { replay_window: 64, ..Sa::with_keys(id, enc, key(key_len), auth, key(auth.key_len())) };
        let requests = vec![Request::Add(Box::new(sa)), Request::Delete(id)];
        for reply in plane.requests(Instant::now(), unix_seconds(), requests) {
            match reply {
                Reply::Refused { refusal: Refusal::NoSa } => {}
                Reply::Refused { refusal } => return Err(io::Error::other(refusal.to_string())),
                _ => {}
            }
        }
    }
    Ok(())
}
