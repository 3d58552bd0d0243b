//! How tests ask tshark about packets.
//!
//! `cargo xtask test` installs it. Without it a test says so and passes, unless CI=true.

use std::process::{Command, Output};

/// What `tshark`, the command and how it is to answer, says about a pcap-savefile(5), which is written under this name
/// for as long as it takes; nothing if it is not installed.
pub fn ask(tshark: &mut Command, name: &str, capture: &[u8]) -> Option<Output> {
    let file = std::env::temp_dir().join(format!("coati-{name}-{}.pcap", std::process::id()));
    std::fs::write(&file, capture).unwrap();
    let output = tshark.arg("-r").arg(&file).output();
    std::fs::remove_file(&file).unwrap();
    if output.is_err() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "tshark has to be there in CI");
        eprintln!("skipped: tshark is not installed");
    }
    output.ok()
}
