//! FreeBSD without a FreeBSD: its headers and stubs of its libraries come with zig (PyPI's ziglang). Lints and links the
//! program for it, and holds `crates/coati-os/src/freebsd/numbers.rs` against the headers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compiled for.
pub const TARGET: &str = "x86_64-unknown-freebsd";
/// Whose headers have to say the same, in zig's words, with the release.
const ZIG_TARGETS: [&str; 2] = ["x86_64-freebsd.14.3", "aarch64-freebsd.14.3"];
/// PyPI's packages, pinned: the last one is for bindgen, which makes the bindings of aws-lc.
const TOOLS: [&str; 3] = ["ziglang==0.16.0", "cargo-zigbuild==0.24.1", "libclang==18.1.1"];
/// Room for a name in an entry of numbers.c; the number is behind it.
const NAME_LEN: usize = 56;

/// The tools, below a folder of their own.
pub struct Tools(PathBuf);

impl Tools {
    /// Installs what is missing.
    pub fn install(folder: &Path) -> Result<Self, String> {
        let absolute = || fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
        let tools = Self(absolute().map_err(|error| format!("{}: {error}", folder.display()))?);
        if !tools.zig().exists() {
            run(Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--target"])
                .arg(&tools.0)
                .args(TOOLS))?;
        }
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
        Ok(tools)
    }

    fn zig(&self) -> PathBuf {
        self.0.join("ziglang/zig")
    }

    /// Compiles, lints and links the program, with a target folder of its own.
    pub fn build(&self) -> Command {
        let mut command = Command::new(self.0.join("bin/cargo-zigbuild"));
        let library = self.0.join("ziglang/lib");
        let headers = ["include", "libc/include/x86_64-freebsd-none", "libc/include/generic-freebsd"];
        let includes = headers.map(|folder| format!("-isystem {}", library.join(folder).display())).join(" ");
        command.args(["zigbuild", "--locked", "--quiet", "--target", TARGET, "--package", "coati"]);
        // Clippy is a compiler, too: once through is enough, where `cargo clippy` would look at all dependencies again.
        command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
        command.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
        // Nobody runs it, so it is compiled as quickly as can be.
        for package in
            ["\"*\"", "aws-lc-sys", "crypto-bigint", "rsa", "yescrypt", "sha-crypt", "sha2", "salsa20"]
        {
            command.args(["--config", &format!("profile.dev.package.{package}.opt-level=0")]);
        }
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
        command.env("CARGO_ZIGBUILD_ZIG_PATH", self.zig()).env("AWS_LC_SYS_CMAKE_BUILDER", "0");
        command.env("LIBCLANG_PATH", self.0.join("clang/native"));
        // With the target's hyphens: that is the one that bindgen looks for first, and cargo-zigbuild adds to it.
        command.env(format!("BINDGEN_EXTRA_CLANG_ARGS_{TARGET}"), format!("-nostdinc {includes}"));
        command.env("CARGO_TARGET_DIR", self.0.join("target"));
        // Without this a symbol that is missing goes unnoticed where nothing reaches it.
        command.env("RUSTFLAGS", "-Clink-dead-code");
        command
    }

    /// Whether numbers.rs is what the headers say, for each processor; it is written anew when not.
    pub fn numbers(&self) -> io::Result<()> {
        let folder = Path::new("crates/coati-os/src/freebsd");
        let (object, file) = (self.0.join("numbers.o"), folder.join("numbers.rs"));
        for target in ZIG_TARGETS {
            let mut compile = Command::new(self.zig());
            compile.args(["cc", "-target", target, "-c", "-o"]).args([&object, &folder.join("numbers.c")]);
            run(&mut compile).map_err(io::Error::other)?;
            let wanted = numbers_in(&fs::read(&object)?);
            if fs::read_to_string(&file)? != wanted {
                fs::write(&file, wanted)?;
                return Err(io::Error::other(format!(
                    "{} was not what the headers say for {target}; look at what has changed",
                    file.display()
                )));
            }
        }
        Ok(())
    }
}

/// The entries of numbers.c, wherever they lie in the object.
fn numbers_in(object: &[u8]) -> String {
    let mut text = "//! Numbers of FreeBSD's headers, written by `cargo xtask freebsd` from `numbers.c`; not by hand.\n\n\
                    #![allow(missing_docs, reason = \"the names of the headers\")]\n\n"
        .to_owned();
    for at in 0..object.len() {
        let Some((name, rest)) = object.get(at..).and_then(|rest| rest.split_at_checked(NAME_LEN)) else {
            break;
        };
        let Some(name) = name.strip_prefix(b"@@") else { continue };
        let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
        let is_name =
            |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let (Some(name), Some(value)) = (std::str::from_utf8(&name).ok().filter(is_name), rest.first_chunk())
        else {
            continue;
        };
        text += &format!("pub const {}: u64 = {:#x};\n", name.to_uppercase(), u64::from_le_bytes(*value));
    }
    text
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
