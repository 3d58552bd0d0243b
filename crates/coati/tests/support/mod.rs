//! The built program on folders of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What came out of the program.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// A line of standard error holds all of `parts`.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        let found = self.err.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?} in:\n{}{}", self.out, self.err);
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `coati ARGS`.
pub fn coati(args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coati"));
    command.args(args).output().expect("the program starts").into()
}

/// A folder that goes with its owner.
pub struct Dir {
    /// Where it is.
    pub path: PathBuf,
}

impl Dir {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coati-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Self { path }
    }

    /// The files of the how-to's first site, psk.txt with the mode it needs.
    pub fn seed(name: &str) -> Self {
        let dir = Self::new(name);
        let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed/freebsd-a");
        for file in ["rc.conf", "racoon.conf", "psk.txt", "setkey.conf", "ospfd.conf"] {
            fs::copy(seed.join(file), dir.path.join(file)).expect("a file of the example");
        }
        dir.mode("psk.txt", 0o600);
        dir
    }

    /// Sets the mode of a file.
    pub fn mode(&self, file: &str, mode: u32) {
        fs::set_permissions(self.path.join(file), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// Puts another text in the place of `from`.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path.join(file);
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).expect("the file");
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path.join(file)).expect("the file");
    }

    /// Runs `coati check` on it.
    pub fn check(&self) -> Ran {
        coati(&["check", &self.path.display().to_string()])
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
