//! Files that are wrong: each answer names file, line and column, and what to do.

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use support::{Dir, coati};

#[test]
fn the_how_to_can_start_and_its_weak_choices_are_named_once() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed");
    let ran = coati(&["check", &seed.join("freebsd-a").display().to_string()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("this can start"));
    ran.says(&["racoon.conf:13:16: warning: SHA-1"]);
    ran.says(&["racoon.conf:15:10: warning: group 2 is weak"]);
    ran.says(&["racoon.conf:22:27: warning: 3des is weak"]);
    for (weak, stronger) in [
        ("warning: SHA-1", "hash_algorithm sha256;"),
        ("warning: group 2", "dh_group 14;"),
        ("warning: 3des", "encryption_algorithm aes;"),
    ] {
        assert_eq!(ran.err.matches(weak).count(), 1, "{weak}");
        ran.says(&[stronger]);
    }
    // What rc(8) would not do, with the line that makes it.
    ran.says(&["rc.conf:6:1: note", "ipsec_enable=\"YES\""]);
    ran.says(&["rc.conf:5:1: note", "gateway_enable=\"YES\""]);
    let both = coati(&["check", &seed.display().to_string()]);
    assert_eq!((both.code, both.out.matches("this can start").count()), (0, 2), "{}", both.err);
}

#[test]
fn keys_that_others_can_read() {
    let dir = Dir::seed("psk-mode");
    assert_eq!(dir.check().code, 0);
    dir.mode("psk.txt", 0o644);
    for command in ["check", "up"] {
        let ran = coati(&[command, &dir.path.display().to_string()]);
        assert_ne!(ran.code, 0);
        ran.says(&["psk.txt:1:1: error: mode 0644", "chmod 600"]);
        assert!(!ran.err.contains("an-example-key"), "the key is shown");
    }
}

#[test]
fn keys_that_are_not_ours() {
    let dir = Dir::seed("psk-owner");
    if chown(dir.path.join("psk.txt"), Some(65_534), None).is_err() {
        // Only root can give files away; the rule itself is tested in coati-config.
        return;
    }
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["psk.txt:1:1: error: this file belongs to user 65534", "chown 0"]);
}

#[test]
fn keys_that_are_not_there() {
    let dir = Dir::seed("psk-missing");
    dir.remove("psk.txt");
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["racoon.conf:1:1: error: the pre-shared keys cannot be read", "psk.txt"]);
    ran.says(&["ADDRESS KEY"]);
    dir.edit("racoon.conf", "remote ", "path pre_shared_key \"/nowhere/psk.txt\";\nremote ");
    dir.check().says(&["racoon.conf:1:21: error", "/nowhere/psk.txt"]);
    fs::write(dir.path.join("psk.txt"), "192.0.2.77 another-key-of-twenty-bytes\n").unwrap();
    dir.mode("psk.txt", 0o600);
    dir.edit("racoon.conf", "path pre_shared_key \"/nowhere/psk.txt\";\n", "");
    let ran = dir.check();
    ran.says(&["racoon.conf:1:1: error: psk.txt has no key for 198.51.100.1"]);
    ran.says(&["add a line to psk.txt: 198.51.100.1 KEY"]);
}

#[test]
fn wrong_words_and_what_was_meant() {
    for (name, file, from, to, place, advice) in [
        (
            "word",
            "racoon.conf",
            "dpd_delay",
            "dpd_dellay",
            "racoon.conf:5:1: error: unknown directive `dpd_dellay`",
            "did you mean `dpd_delay`?",
        ),
        (
            "semicolon",
            "racoon.conf",
            "passive off;",
            "passive off",
            "racoon.conf:7:11: error: a semicolon `;` is missing",
            "add `;` here",
        ),
        (
            "address",
            "racoon.conf",
            "remote 198.51.100.1",
            "remote 198.51.100.256",
            "racoon.conf:1:8: error: `198.51.100.256` is not an IP address",
            "write it in numbers",
        ),
        (
            "brace",
            "racoon.conf",
            "compression_algorithm deflate;\n}",
            "compression_algorithm deflate;\n",
            "racoon.conf:18:1: error: this block is never closed",
            "add the closing brace",
        ),
        (
            "setkey",
            "setkey.conf",
            "spdflush",
            "spdflsh",
            "setkey.conf:2:1: error: unknown command `spdflsh`",
            "did you mean `spdflush`?",
        ),
        (
            "level",
            "setkey.conf",
            "esp/transport//unique",
            "esp/transport//uniqe",
            "setkey.conf:3:69: error: unknown level `uniqe`",
            "did you mean `unique`?",
        ),
        (
            "ospf",
            "ospfd.conf",
            "network 10",
            "netwrk 10",
            "ospfd.conf:9:2: error: unknown statement of `router ospf` `netwrk`",
            "did you mean `network`?",
        ),
        (
            "tunnel",
            "rc.conf",
            "link1 tunnel",
            "link1 tunel",
            "rc.conf:5:1: error: unknown word of ifconfig `tunel`",
            "did you mean `tunnel`?",
        ),
    ] {
        let dir = Dir::seed(&format!("word-{name}"));
        dir.edit(file, from, to);
        let ran = dir.check();
        assert_ne!(ran.code, 0, "{name}");
        ran.says(&[place]);
        ran.says(&[advice]);
    }
}

#[test]
fn several_errors_at_once() {
    let dir = Dir::seed("several");
    dir.edit("racoon.conf", "passive off", "pasive off");
    dir.edit("racoon.conf", "hash_algorithm sha1", "hash_algorithm sha3");
    dir.edit("racoon.conf", "pfs_group 2", "pfs_group 99");
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["racoon.conf:7:1: error: unknown directive `pasive`"]);
    ran.says(&["did you mean `passive`?"]);
    ran.says(&["racoon.conf:13:16: error: unknown hash algorithm `sha3`"]);
    ran.says(&["racoon.conf:20:11: error: unknown group `99`"]);
}

#[test]
fn included_files() {
    let dir = Dir::seed("include");
    let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
    let (remote, sainfo) = text.split_at(text.find("sainfo").unwrap());
    fs::create_dir(dir.path.join("conf.d")).unwrap();
    fs::create_dir(dir.path.join("conf.d/folder.conf")).unwrap();
    fs::write(dir.path.join("conf.d/10-remote.conf"), remote).unwrap();
    fs::write(dir.path.join("conf.d/20-sainfo.conf"), sainfo).unwrap();
    fs::write(dir.path.join("conf.d/notes.txt"), "no configuration").unwrap();
    fs::write(dir.path.join("racoon.conf"), "include \"conf.d/*.conf\";\n").unwrap();
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&["conf.d/20-sainfo.conf:5:27: warning: 3des"]);
    dir.edit("conf.d/10-remote.conf", "dpd_delay", "dpd_dellay");
    dir.check().says(&["conf.d/10-remote.conf:5:1: error: unknown directive `dpd_dellay`"]);
    dir.edit("conf.d/10-remote.conf", "dpd_dellay", "dpd_delay");
    // Remarks of one file against another point into the included one.
    dir.edit("conf.d/10-remote.conf", "remote 198.51.100.1", "remote 198.51.100.9");
    dir.check().says(&["conf.d/10-remote.conf:1:1: error: psk.txt has no key for 198.51.100.9"]);
    fs::write(dir.path.join("racoon.conf"), "include \"other.d/*.conf\";\n").unwrap();
    dir.check().says(&["racoon.conf:1:9: error: no file matches `other.d/*.conf`"]);
    fs::write(dir.path.join("racoon.conf"), "include \"~somebody/*.conf\";\n").unwrap();
    dir.check()
        .says(&["racoon.conf:1:9: error: `~somebody/*.conf` cannot be included", "write the whole path"]);
    fs::write(dir.path.join("racoon.conf"), "include \"racoon.conf\";\n").unwrap();
    dir.check().says(&["racoon.conf:1:9: error: files include files more than 10 times"]);
}

#[test]
fn what_the_engine_does_not_do_yet_is_refused() {
    let dir = Dir::seed("unsupported");
    let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
    fs::write(dir.path.join("racoon.conf"), format!("privsep {{\n  chroot \"/var/empty\"; }}\n{text}"))
        .unwrap();
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["racoon.conf:2:10: error: privsep chroot is not done"]);
}

/// What people write for gateways that somebody calls: it can start, and every weak choice is named.
#[test]
fn a_gateway_for_peers_behind_nats() {
    let dir = Dir::seed("gateway");
    dir.edit("racoon.conf", "exchange_mode main;", "exchange_mode main, aggressive;\nnat_traversal on;");
    dir.edit(
        "racoon.conf",
        "passive off;",
        "my_identifier keyid file \"gateway.id\";\npeers_identifier fqdn \"site.example.org\";\n\
         verify_identifier on;\ngenerate_policy unique;\nph1id 7;\nscript \"up.sh\" phase1_up;\nrekey force;",
    );
    dir.edit("racoon.conf", "pfs_group 2;", "pfs_group 2;\nremoteid 7;\nlifetime byte 1 TB;");
    let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
    let daemon = "timer { natt_keepalive 15 sec; counter 8; interval 2 sec; }\n\
                  listen { isakmp 192.0.2.1 [500]; isakmp_natt 192.0.2.1 [4500];\n\
                  adminsock \"/var/run/racoon.sock\" \"root\" \"operator\" 0660; }\n\
                  privsep { user \"nobody\"; group \"nogroup\"; }\npath script \"/etc/racoon/scripts\";\n";
    fs::write(dir.path.join("racoon.conf"), format!("{daemon}{text}")).unwrap();
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["gateway.id", "error: the key id cannot be taken from", "No such file"]);
    fs::write(dir.path.join("gateway.id"), "gateway").unwrap();
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("this can start"));
    ran.says(&["warning: aggressive mode shows everybody a hash"]);
}

/// What racoon.conf names and this machine does not have.
#[test]
fn accounts_and_hooks_that_are_not_there() {
    let dir = Dir::seed("host");
    let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
    let daemon = "privsep {\n user \"nosuch\";\n group \"nogroup\"; }\n\
                  listen { adminsock \"/run/r.sock\" \"root\" \"nogrp\" 0660; }\n";
    fs::write(dir.path.join("racoon.conf"), format!("{daemon}{text}")).unwrap();
    dir.edit("racoon.conf", "passive off;", "passive off;\nscript \"up.sh\" phase1_up;");
    fs::write(dir.path.join("up.sh"), "#!/bin/sh\n").unwrap();
    dir.mode("up.sh", 0o644);
    for command in ["check", "up"] {
        let ran = coati(&[command, &dir.path.display().to_string()]);
        assert_ne!(ran.code, 0);
        ran.says(&["racoon.conf:2:7: error: there is no user `nosuch` on this machine"]);
        ran.says(&["make it (useradd nosuch), or correct the name"]);
        ran.says(&["racoon.conf:4:20: error: there is no group `nogrp` on this machine"]);
        ran.says(&["warning: the phase1_up hook cannot be run: it is not executable"]);
        ran.says(&["chmod 755"]);
    }
    dir.edit("racoon.conf", "nosuch", "nobody");
    dir.edit("racoon.conf", "nogrp", "nogroup");
    fs::remove_file(dir.path.join("up.sh")).unwrap();
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&["the phase1_up hook cannot be run: No such file"]);
}

/// Thousands of mistakes are one: they are not all drawn, and quickly done with.
#[test]
fn many_mistakes() {
    let dir = Dir::seed("many");
    let section = "remote 192.0.2.99 { exchange_mode main; proposal { encryption_algorithm aes; \
                   hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; } }";
    for between in ["\n", " "] {
        fs::write(dir.path.join("racoon.conf"), vec![section; 2000].join(between)).unwrap();
        let ran = dir.check();
        assert_ne!(ran.code, 0);
        ran.says(&["more remarks", "with --json they are all there"]);
        assert!(ran.err.len() < 200_000, "{} bytes", ran.err.len());
    }
    // In the order of the file.
    let dir = Dir::seed("order");
    dir.edit("racoon.conf", "passive off;", "passive of;");
    dir.edit("racoon.conf", "pfs_group 2;", "pfs_group 99;");
    let ran = dir.check();
    let places: Vec<usize> = ["passive", "hash_algorithm", "dh_group", "pfs_group", "3des"]
        .iter()
        .filter_map(|word| ran.err.find(&format!("| {word}")))
        .collect();
    assert!(places.is_sorted(), "{}", ran.err);
}

#[test]
fn the_example_with_a_nat_between_can_start() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/natt");
    let both = coati(&["check", &example.display().to_string()]);
    assert_eq!((both.code, both.out.matches("this can start").count()), (0, 2), "{}", both.err);
    assert!(!both.err.contains("warning"), "{}", both.err);
}

#[test]
fn files_that_do_not_fit_each_other() {
    let dir = Dir::seed("no-sainfo");
    let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
    let (remote, _) = text.split_once("sainfo").unwrap();
    fs::write(dir.path.join("racoon.conf"), remote).unwrap();
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["setkey.conf:3:1: error: this policy needs a sainfo"]);
    ran.says(&["add `sainfo anonymous"]);

    let dir = Dir::seed("no-remote");
    dir.edit("racoon.conf", "remote 198.51.100.1", "remote 198.51.100.9");
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["setkey.conf:3:1: error: this policy needs keys from 198.51.100.1", "no remote section"]);
    ran.says(&["add `remote 198.51.100.1"]);

    let dir = Dir::seed("gre-policy");
    dir.edit("rc.conf", "tunnel 192.0.2.1 198.51.100.1", "tunnel 192.0.2.1 198.51.100.7");
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["rc.conf:5:1: error: gre0 goes from 192.0.2.1 to 198.51.100.7, but no `out` policy"]);
    ran.says(&["spdadd 192.0.2.1/32 198.51.100.7/32 gre -P out ipsec esp/transport//unique;"]);
    ran.says(&["spdadd 198.51.100.7/32 192.0.2.1/32 gre -P in ipsec esp/transport//unique;"]);

    let dir = Dir::seed("gre-interface");
    dir.edit("rc.conf", "inet 192.0.2.1 ", "inet 192.0.2.3 ");
    dir.check().says(&["rc.conf:5:1: warning: gre0 begins at 192.0.2.1, but no interface"]);
    dir.check().says(&["there are: em0 192.0.2.3, em1 10.1.0.1"]);
}

#[test]
fn interfaces_that_do_not_exist() {
    let dir = Dir::seed("interface");
    dir.edit("ospfd.conf", "passive-interface em1", "passive-interface em7");
    dir.edit("ospfd.conf", "interface gre0", "interface gre9");
    let ran = dir.check();
    ran.says(&["ospfd.conf:3:11: warning: rc.conf has no interface `gre9`"]);
    ran.says(&["ospfd.conf:10:20: warning: rc.conf has no interface `em7`"]);
    ran.says(&["there are: em0, em1, gre0"]);
    // Without rc.conf, those that the system has count.
    dir.remove("rc.conf");
    assert!(!dir.check().err.contains("no interface"));
}

#[test]
fn two_ends_that_do_not_match() {
    let dir = Dir::new("ends");
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed");
    for side in ["freebsd-a", "freebsd-b"] {
        fs::create_dir(dir.path.join(side)).unwrap();
        for file in fs::read_dir(seed.join(side)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), dir.path.join(side).join(file.file_name())).unwrap();
        }
        dir.mode(&format!("{side}/psk.txt"), 0o600);
    }
    assert_eq!(dir.check().code, 0);
    dir.edit("freebsd-b/rc.conf", "mtu 1400", "mtu 1300");
    dir.edit("freebsd-b/ospfd.conf", "point-to-point\n", "point-to-point\n ip ospf dead-interval 8\n");
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["freebsd-a/rc.conf:5:1: error: the MTU of gre0 is 1400, on the other side 1300"]);
    ran.says(&["freebsd-a/ospfd.conf:3:11: error: gre0: dead-interval is 40 s, on the other side 8 s"]);
    ran.says(&["write the same mtu on both sides"]);
}

#[test]
fn folders_without_files() {
    let dir = Dir::new("empty");
    for command in ["check", "up"] {
        let ran = coati(&[command, &dir.path.display().to_string()]);
        assert_ne!(ran.code, 0);
        ran.says(&["none of rc.conf, racoon.conf, setkey.conf", "name the folder that holds them"]);
        let ran = coati(&[command, "/nonexistent"]);
        assert_ne!(ran.code, 0);
        ran.says(&["/nonexistent: not a folder", "rc.conf"]);
    }
    // Some of them are enough.
    fs::write(dir.path.join("ospfd.conf"), "router ospf\n network 10.0.0.0/8 area 0\n").unwrap();
    assert_eq!(dir.check().code, 0);
}

#[test]
fn bytes_that_are_no_text() {
    let dir = Dir::seed("bytes");
    fs::write(dir.path.join("setkey.conf"), b"flush;\nspd\0flush;\n").unwrap();
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["setkey.conf:2:4: error: this byte is NUL"]);
}

/// Old files have umlauts in comments, and editors put a byte order mark before them.
#[test]
fn other_bytes_than_ascii() {
    let dir = Dir::seed("latin1");
    for file in ["rc.conf", "racoon.conf", "setkey.conf", "ospfd.conf"] {
        let path = dir.path.join(file);
        let comment: &[u8] = if file == "ospfd.conf" { b"! Z\xfcrich\n" } else { b"# Z\xfcrich\n" };
        fs::write(&path, [comment, &fs::read(&path).unwrap()].concat()).unwrap();
    }
    let keys = dir.path.join("psk.txt");
    fs::write(&keys, [b"\xef\xbb\xbf".as_slice(), &fs::read(&keys).unwrap()].concat()).unwrap();
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    // In a word of their own they are an error like any other.
    fs::write(dir.path.join("setkey.conf"), b"flush;\nspd\xfcflush;\n").unwrap();
    let ran = dir.check();
    assert_ne!(ran.code, 0);
    ran.says(&["setkey.conf:2:1: error: "]);
}

#[test]
fn remarks_for_programs() {
    let dir = Dir::seed("json");
    dir.edit("racoon.conf", "dpd_delay", "dpd_dellay");
    let ran = coati(&["check", "--json", &dir.path.display().to_string()]);
    assert_ne!(ran.code, 0);
    let list: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let error = list.as_array().unwrap().iter().find(|one| one["severity"] == "error").unwrap();
    assert_eq!((&error["line"], &error["column"]), (&serde_json::json!(5), &serde_json::json!(1)));
    assert_eq!(error["help"], "did you mean `dpd_delay`?");
}

/// A pipe has no end, and neither has /dev/zero: nobody waits for either.
#[test]
fn what_is_no_file_is_refused() {
    let dir = Dir::seed("pipes");
    let pipe = dir.path.join("pipe.conf");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for what in ["pipe.conf", "/dev/zero"] {
        let text = fs::read_to_string(dir.path.join("racoon.conf")).unwrap();
        fs::write(dir.path.join("racoon.conf"), format!("include \"{what}\";\n{text}")).unwrap();
        let ran = dir.check();
        assert_ne!(ran.code, 0);
        ran.says(&["racoon.conf:1:", "this is not a regular file"]);
        fs::write(dir.path.join("racoon.conf"), text).unwrap();
    }
    fs::remove_file(dir.path.join("psk.txt")).unwrap();
    fs::rename(&pipe, dir.path.join("psk.txt")).unwrap();
    assert_ne!(dir.check().code, 0);
}

/// `coati check` says what `coati up` would refuse, with the same sentence at the same place.
#[test]
fn policies_that_the_data_plane_refuses() {
    let plain = "out ipsec esp/transport//unique;";
    // What no home takes is underlined more closely than what this one does not.
    let many = format!("out ipsec {};", "ah/transport//use ".repeat(7));
    for (name, rules, column, sentence) in [
        ("many", &*many, 48, "6 protocols at the most"),
        ("end", "out ipsec ah/tunnel/me-any/require;", 1, "looks for no end of a tunnel"),
        ("fwd", "fwd ipsec esp/transport//unique;", 1, "fwd policies"),
    ] {
        let dir = Dir::seed(&format!("refused-{name}"));
        dir.edit("setkey.conf", plain, rules);
        for command in ["check", "up"] {
            let ran = coati(&[command, &dir.path.display().to_string()]);
            assert_ne!(ran.code, 0, "{command} {name}");
            ran.says(&[&format!("setkey.conf:3:{column}: error: "), sentence]);
        }
    }
    let dir = Dir::seed("refused-delete");
    dir.edit("setkey.conf", "spdflush;", "spdflush; delete 192.0.2.1 198.51.100.1 esp 0x1000;");
    let ran = dir.check();
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&["setkey.conf:2:11: warning: no such SA"]);
    // Twice in one file: the router starts with the first, in every home, and it is said once.
    let dir = Dir::seed("refused-twice");
    dir.edit("setkey.conf", plain, &format!("{plain}\nspdadd 192.0.2.1 198.51.100.1 47 -P out none;"));
    for home in ["embedded", "xfrm", "pfkey"] {
        let ran = coati(&["check", "--dataplane", home, &dir.path.display().to_string()]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.says(&["setkey.conf:4:1: warning: the policy of line 3 is for these packets"]);
        assert_eq!(ran.err.matches("setkey.conf:4:1: ").count(), 1, "{}", ran.err);
    }
}

/// What BIRDs of the interoperability tests have, as files that a router can start with.
#[test]
fn a_bird_conf_becomes_an_ospfd_conf() {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/peers");
    for (name, wanted) in [
        ("bird.conf", vec!["interface gre0\n ip ospf area 0.0.0.0\n", " ospf router-id 203.0.113.2\n"]),
        ("lan-bird.conf", vec![" ip ospf priority 5\n", " ip ospf message-digest-key 1 md5 geheim\n"]),
        (
            "areas-bird.conf",
            vec![
                "ip route 172.30.0.0/16 blackhole\n",
                " area 0.0.0.1 nssa no-summary\n",
                " redistribute static metric 10000 metric-type 2\n",
            ],
        ),
    ] {
        let dir = Dir::new(&format!("import-{name}"));
        let (file, output) = (peers.join(name).display().to_string(), dir.path.join("ospfd.conf"));
        let to_output = ["import", &file, "--interfaces", "gre0,lan0,lan1,em1=192.168.1.1/24", "--output"];
        let to_output = [&to_output[..], &[output.to_str().unwrap()]].concat();
        let ran = coati(&to_output);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            !ran.err.contains("warning") && ran.out.contains("ospfd.conf is written"),
            "{}{}",
            ran.out,
            ran.err
        );
        let text = fs::read_to_string(&output).unwrap();
        for part in wanted {
            assert!(text.contains(part), "{name} without {part}:\n{text}");
        }
        let mode = fs::metadata(&output).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "passwords may be in it");
        let checked = dir.check();
        assert_eq!(checked.code, 0, "{}", checked.err);
        assert!(checked.out.contains("OSPF on: this can start"), "{}", checked.out);
        // What is there is nobody's to overwrite.
        let again = coati(&to_output);
        assert_eq!(again.code, 1);
        again.says(&["ospfd.conf: this file is there already"]);
        assert_eq!(fs::read_to_string(&output).unwrap(), text);
        // Without a file no password is shown.
        let shown = coati(&["import", &file]);
        assert_eq!(shown.code, 0, "{}", shown.err);
        assert!(
            shown.out.contains("router ospf\n") && !(shown.out + &shown.err).contains("geheim"),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_imported_is_named_at_its_place() {
    let dir = Dir::new("import-wrong");
    let path = dir.path.join("bird.conf");
    let file = path.display().to_string();
    fs::write(
        &path,
        "router id 1.2.3.4;\nprotocol ospf {\n area 0 {\n  interface \"em1\" { cost 0; };\n };\n}\n",
    )
    .unwrap();
    let ran = coati(&["import", &file]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    ran.says(&["bird.conf:4:26: error: expected a number from 1 to 65535, found `0`"]);
    let text =
        "router id 1.2.3.4;\nprotocol bgp b { }\nprotocol ospf {\n area 0 { interface \"gre*\"; };\n}\n";
    fs::write(&path, text).unwrap();
    let ran = coati(&["import", &file, "--interfaces", "em1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.says(&["bird.conf:2:1: warning: `protocol bgp` (`b`) is left out"]);
    ran.says(&["bird.conf:4:11: warning: no interface is left for this"]);
    assert!(ran.out.contains("! interface \"gre*\"\n!  ip ospf area 0.0.0.0\n"), "{}", ran.out);
    let ran = coati(&["import", &file, "--interfaces", "gre3", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(answer["ospfd_conf"].as_str().unwrap().contains("interface gre3\n"), "{answer}");
    assert!(answer["remarks"][0]["line"].as_u64().is_some() && answer["output"].is_null());
    fs::write(&path, "hostname a\n!\nrouter ospf\n ospf router-id 1.2.3.4\n").unwrap();
    let ran = coati(&["import", &file]);
    assert_eq!(ran.code, 1);
    ran.says(&["bird.conf:3:1: this is FRR's style already", "ospfd.conf"]);
    let ran = coati(&["import", &file, "--interfaces", "gre*"]);
    assert_ne!(ran.code, 0);
    ran.says(&["`gre*` is no name of an interface"]);
    assert_eq!(coati(&["import", "/nowhere/bird.conf"]).code, 1);
}
