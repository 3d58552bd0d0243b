//! The lab itself: what ends it, what it leaves behind, what it says when an example is broken.

use super::*;

/// A copy of the how-to's example, with something else in one file.
fn broken(lab: &Lab, file: &str, from: &str, to: &str) -> PathBuf {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed");
    let dir = lab.dir.join("broken");
    for site in ["freebsd-a", "freebsd-b"] {
        fs::create_dir_all(dir.join(site)).unwrap();
        for entry in fs::read_dir(seed.join(site)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.join(site).join(entry.file_name())).unwrap();
        }
    }
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
    dir
}

#[test]
fn down_ends_what_was_started_inside_and_ctrl_c_ends_a_lab_that_waits() {
    let Some(lab) = Lab::start("handling") else { return };
    let second = lab.coati().arg("lab").arg("examples/seed").output().unwrap();
    assert!(!second.status.success() && String::from_utf8_lossy(&second.stderr).contains("a lab is running"));

    // Gone into the background inside; the lab ends it all the same.
    let left = lab.exec("host-a", &["sh", "-c", "setsid sleep 600 > /dev/null 2>&1 & echo $!"]);
    let left: u32 = String::from_utf8_lossy(&left.stdout).trim().parse().unwrap();
    assert!(coati_os::process::exists(left));
    assert!(lab.coati().args(["lab", "down"]).output().unwrap().status.success());
    lab.wait_for("what was left inside has ended", || !coati_os::process::exists(left));

    // A key that is another one at one side: the chain never comes up, and Ctrl-C is heard while it is waited for.
    let example = broken(&lab, "freebsd-b/psk.txt", "an-example-key", "another-key");
    let mut waiting = lab.coati().arg("lab").arg(&example).stdout(Stdio::piped()).spawn().unwrap();
    lab.wait_for("it has begun", || lab.dir.join("coati-lab/state.json").exists());
    let asked = Instant::now();
    coati_os::process::end(waiting.id(), false).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    lab.wait_for("nothing is left", || !lab.dir.join("coati-lab/state.json").exists());

    // A mistake in a file is shown where it is, not only the warnings behind it.
    let example = broken(&lab, "freebsd-a/racoon.conf", "dpd_delay", "dpd_dellay");
    let output = lab.coati().arg("lab").arg(&example).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("unknown directive `dpd_dellay`"), "{text}");
}
