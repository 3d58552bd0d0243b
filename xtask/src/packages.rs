//! Debian packages that the tests need: found, named, and installed where we may.
//!
//! Installing must not start daemons on this machine (strongSwan, FRR and BIRD bring services). While `apt-get` runs, a
//! `policy-rc.d` forbids that, the way Debian's policy manual describes; one that somebody else put there is left alone.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the peers in User-Mode Linux are made of.
pub const INTEROP: &[&str] = &[
    "user-mode-linux",
    "busybox-static",
    "strongswan",
    "strongswan-swanctl",
    "charon-systemd",
    "libcharon-extra-plugins",
    "libcharon-extauth-plugins",
    "libstrongswan-extra-plugins",
    "libstrongswan-standard-plugins",
    "frr",
    "bird2",
    "tshark",
    "tcpdump",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "ike-scan",
    "vpnc",
];

/// A peer whose package conflicts with strongSwan's: [`unpack`] it.
pub const LIBRESWAN: &str = "libreswan";

/// What the tests of decoding hold our reading against.
pub const DECODING: &[&str] = &["tshark"];

/// What libFuzzer is built with.
pub const FUZZ: &[&str] = &["g++"];
/// What `cargo xtask bench` measures with, and the peers beside which it measures.
pub const BENCH: &[&str] = &[
    "iperf3",
    "iproute2",
    "frr",
    "bird2",
    "strongswan",
    "strongswan-swanctl",
    "charon-systemd",
    "libcharon-extra-plugins",
    "libstrongswan-standard-plugins",
];

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Written by `cargo xtask test` while it installs packages.\nexit 101\n";

/// Makes sure that `packages` are there. Otherwise says why not, and what to type.
pub fn ensure(packages: &[&str]) -> Result<(), String> {
    let missing = missing(packages).map_err(|error| format!("dpkg-query does not run here: {error}"))?;
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        println!("not installed: {}\ninstall them with:\n  sudo {line}", missing.join(" "));
        return Err(format!("packages are missing: {}", missing.join(" ")));
    }
    println!("installing {}", missing.join(" "));
    let policy = ServicePolicy::forbid_starts().map_err(|error| format!("{POLICY}: {error}"))?;
    let installed = apt_get(&["update", "--quiet=2"])
        && apt_get(&[&["install", "--yes", "--quiet=2", "--no-install-recommends"], &missing[..]].concat());
    drop(policy);
    if installed { Ok(()) } else { Err(format!("this failed: {line}")) }
}

/// Unpacks a package below `folder` without installing it, and installs the libraries that it names. Neither is done
/// again when the folder is there. The folder has what the package has in `/`.
pub fn unpack(package: &str, folder: &Path) -> Result<PathBuf, String> {
    let tree = folder.join(package);
    let describe = |error: io::Error| format!("{}: {error}", folder.display());
    if !tree.exists() {
        // It gets its name when it is whole.
        let new = folder.join(format!("{package}.new"));
        if new.exists() {
            fs::remove_dir_all(&new).map_err(describe)?;
        }
        fs::create_dir_all(&new).map_err(describe)?;
        let archive = download(package, &new)?;
        if !succeeds(Command::new("dpkg-deb").arg("--extract").args([&archive, &new])) {
            return Err(format!("this failed: dpkg-deb --extract {}", archive.display()));
        }
        fs::rename(archive, new.join("package.deb")).map_err(describe)?;
        fs::rename(new, &tree).map_err(describe)?;
    }
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .args([&tree.join("package.deb"), Path::new("Depends")])
        .output()
        .map_err(|error| format!("dpkg-deb does not run here: {error}"))?;
    let depends = String::from_utf8_lossy(&output.stdout);
    ensure(&libraries(&depends))?;
    Ok(tree)
}

/// The libraries in a package's `Depends`, of alternatives the first.
fn libraries(depends: &str) -> Vec<&str> {
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    names.filter(|name| name.starts_with("lib")).collect()
}

fn download(package: &str, folder: &Path) -> Result<PathBuf, String> {
    let get =
        || succeeds(Command::new("apt-get").args(["download", "--quiet=2", package]).current_dir(folder));
    // The lists may be older than what the mirror has.
    let updated = || is_root() && apt_get(&["update", "--quiet=2"]);
    let downloaded = get() || (updated() && get());
    if !downloaded {
        return Err(format!("this failed: apt-get download {package}"));
    }
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("apt-get download {package} brought nothing"))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn missing<'a>(packages: &[&'a str]) -> io::Result<Vec<&'a str>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        // It complains about each unknown one; we say it better.
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let is_there = |package: &str| text.lines().any(|line| line == format!("{package} installed"));
    Ok(packages.iter().copied().filter(|package| !is_there(package)).collect())
}

fn apt_get(args: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    succeeds(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether we may install.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// While it lives, packages start no services.
struct ServicePolicy {
    ours: bool,
}

impl ServicePolicy {
    fn forbid_starts() -> io::Result<Self> {
        let path = Path::new(POLICY);
        // One of ours may be left from a run that was killed.
        let ours = match fs::read_to_string(path) {
            Ok(text) => text == POLICY_TEXT,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        let policy = Self { ours };
        if ours {
            fs::write(path, POLICY_TEXT)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(policy)
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.ours {
            // What cannot be removed now is known as ours the next time.
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::libraries;

    #[test]
    fn libraries_are_taken_from_depends() {
        let depends =
            "dns-root-data, bind9-host | host, libnss3-tools, libc6 (>= 2.34), libsystemd0 | libelogind0";
        assert_eq!(libraries(depends), ["libnss3-tools", "libc6", "libsystemd0"]);
        assert_eq!(libraries(""), Vec::<&str>::new());
    }
}
