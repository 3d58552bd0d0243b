//! A second pair of daemons whose tunnel goes over IPv6, beside the lab's own: IKE on IPv6 addresses, ESP in IPv6.

use std::fs;

use coati_wire::ip;

use super::Lab;

/// Files of one site.
fn files(near: &str, far: &str, inner: (&str, &str), inner6: &str) -> [(&'static str, String); 4] {
    let rc = format!(
        "cloned_interfaces=\"gre6\"\nifconfig_gre6=\"inet {} {} netmask 0xfffffffc inet6 tunnel {near} {far} mtu 1380\"\n\
         ifconfig_gre6_ipv6=\"inet6 {inner6} prefixlen 64\"\ngateway_enable=\"YES\"\n",
        inner.0, inner.1
    );
    let racoon = format!(
        "path pre_shared_key \"/run/six/psk.txt\";\nlisten {{ isakmp {near}[500]; adminsock disabled; }}\n\
         remote {far}[500] {{ exchange_mode main; proposal {{ encryption_algorithm aes 128; hash_algorithm sha1; \
         authentication_method pre_shared_key; dh_group 2; }} }}\n\
         sainfo address {near}[any] gre address {far}[any] gre {{ pfs_group 2; encryption_algorithm aes 128; \
         authentication_algorithm hmac_sha1; compression_algorithm deflate; }}\n"
    );
    let setkey = format!(
        "spdadd {near} {far} gre -P out ipsec esp/transport//unique;\n\
         spdadd {far} {near} gre -P in ipsec esp/transport//unique;\n"
    );
    [
        ("rc.conf", rc),
        ("racoon.conf", racoon),
        ("setkey.conf", setkey),
        ("psk.txt", format!("{far} over the newer protocol\n")),
    ]
}

#[test]
fn a_tunnel_over_ipv6_with_both_families_inside() {
    let Some(lab) = Lab::start("ipv6") else { return };
    let run = |node: &str, line: &str| {
        let (text, code) = lab.shell(node, line);
        assert_eq!(code, 0, "{node}: {line}: {text}");
        text
    };
    let sites = [("a", "2001:db8:a"), ("b", "2001:db8:b")];
    run("internet", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    for (site, net) in sites {
        run("internet", &format!("ip -6 addr add {net}::fe/64 dev {site} nodad"));
        run(
            site,
            &format!("ip -6 addr add {net}::1/64 dev em0 nodad && ip -6 route add default via {net}::fe"),
        );
    }
    let ends = ["2001:db8:a::1", "2001:db8:b::1"];
    let mut daemons = Vec::new();
    for (index, (site, _)) in sites.into_iter().enumerate() {
        let (near, far) = (ends[index], ends[1 - index]);
        let inner = if index == 0 { ("10.66.0.1", "10.66.0.2") } else { ("10.66.0.2", "10.66.0.1") };
        run(site, "mkdir /run/six");
        for (name, text) in files(near, far, inner, &format!("fd66::{}", index + 1)) {
            // The run directory is a file system that only the node sees.
            let local = lab.dir.join(name);
            fs::write(&local, text).unwrap();
            run(site, &format!("cat {} > /run/six/{name}", local.display()));
        }
        run(site, "chmod 600 /run/six/psk.txt");
        let mut command = lab.coati();
        command.args(["lab", "exec", site, "--", "coati", "up", "--socket", "/run/six.sock"]);
        command.args(["--log", "/run/six.log", "/run/six"]);
        daemons.push(command.spawn().unwrap());
    }
    // The first packet brings everything up.
    for (address, name) in [("10.66.0.2", "IPv4"), ("fd66::2", "IPv6")] {
        lab.wait_for(&format!("{name} through the tunnel"), || {
            lab.shell("a", &format!("ping -c 1 -W 1 {address}")).1 == 0
        });
    }
    let log = run("a", "cat /run/six.log");
    assert!(log.contains("2001:db8:b::1"), "{log}");
    // Not one packet of the tunnel in clear.
    let count = |protocol: u8| {
        let packets = lab.packets();
        let is = |bytes: &&Vec<u8>| {
            ip::Packet::parse(bytes).is_ok_and(|packet| {
                packet.source.is_ipv6()
                    && packet.protocol == protocol
                    && ends.contains(&&*packet.source.to_string())
            })
        };
        packets.iter().filter(is).count()
    };
    lab.wait_for("the capture has ESP over IPv6", || count(50) >= 4);
    assert_eq!(count(47), 0);
    assert!(count(17) >= 9, "main mode and quick mode");
    for daemon in &mut daemons {
        coati_os::process::end(daemon.id(), false).unwrap();
        assert!(daemon.wait().unwrap().success());
    }
}
