//! Who is joined to whom: read from the rc.conf of the example's two sites.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use coati_config::rc_conf::{self, RcConf};
use coati_config::{Severity, Source};
use serde::{Deserialize, Serialize};

/// One site: a router, and the folder of its files.
#[derive(Clone, Debug)]
pub struct Site {
    /// Name of its node: a or b.
    pub name: &'static str,
    /// Its files.
    pub dir: PathBuf,
    /// Interface to the internet.
    pub outside: Nic,
    /// Interface to its LAN.
    pub inside: Nic,
    /// The internet's end of the outside interface.
    pub gateway: Ipv4Addr,
    /// Inner address of the tunnel's other side.
    pub tunnel_peer: Ipv4Addr,
    /// Name of the tunnel.
    pub tunnel: String,
    /// The host on its LAN.
    pub host: Ipv4Addr,
}

/// One interface of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nic {
    /// Name inside the node.
    pub name: String,
    /// Address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub prefix_len: u8,
}

/// Reads both sites of an example: the first two folders in it, in the order of their names.
pub fn read(dir: &Path) -> io::Result<[Site; 2]> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    let [a, b] = dirs.as_slice() else {
        let message = format!("{}: an example has two folders, one for each site", dir.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    Ok([site("a", a)?, site("b", b)?])
}

fn site(name: &'static str, dir: &Path) -> io::Result<Site> {
    let path = dir.join("rc.conf");
    let wrong =
        |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error.to_string()))?;
    let (conf, remarks): (RcConf, _) = rc_conf::parse(&Source::new(path.display().to_string(), text));
    if let Some(error) = remarks.iter().find(|remark| remark.severity == Severity::Error) {
        return Err(wrong(&error.to_string()));
    }
    let [outside, inside] = conf.interfaces.as_slice() else {
        return Err(wrong(
            "the lab needs two interfaces with addresses, outside first: ifconfig_em0 and ifconfig_em1",
        ));
    };
    let tunnel = conf.tunnels.first().ok_or_else(|| wrong("no tunnel: ifconfig_gre0 is missing"))?;
    let nic =
        |i: &rc_conf::Interface| Nic { name: i.name.clone(), address: i.address, prefix_len: i.prefix_len };
    let [x, y, z, _] = inside.address.octets();
    Ok(Site {
        name,
        dir: dir.to_owned(),
        outside: nic(outside),
        inside: nic(inside),
        gateway: conf.default_router.ok_or_else(|| wrong("no defaultrouter"))?,
        tunnel_peer: tunnel.peer,
        tunnel: tunnel.name.clone(),
        host: Ipv4Addr::new(x, y, z, 10),
    })
}
