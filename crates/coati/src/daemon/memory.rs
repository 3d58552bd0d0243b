//! What OSPF keeps over restarts of the program, in a file: neighbours to greet, and whether they wait for us.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coati_ospf::Memory;

/// Where it is, unless the command line says otherwise.
pub(super) const USUAL_PLACE: &str =
    if cfg!(target_os = "freebsd") { "/var/db/coati/ospf.json" } else { "/var/lib/coati/ospf.json" };
/// No file of ours is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct MemoryFile {
    path: Option<PathBuf>,
    kept: Memory,
}

impl MemoryFile {
    /// Reads it, and makes its folder, which is to belong to this user and group when the daemon becomes them. A file
    /// that cannot be read is as good as none; an error says why.
    pub(super) fn open(path: Option<PathBuf>, owner: (u32, u32)) -> (Self, Option<io::Error>) {
        let Some(path) = path else { return (Self { path: None, kept: Memory::default() }, None) };
        let read = make_folder(&path, owner).and_then(|()| read(&path));
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let (kept, error) = match read {
            Ok(kept) => (kept, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Memory::default(), None),
            Err(error) => (Memory::default(), Some(told(error))),
        };
        (Self { path: Some(path), kept }, error)
    }

    /// What was kept.
    pub(super) fn kept(&self) -> &Memory {
        &self.kept
    }

    /// Keeps this, when it is something else.
    pub(super) fn keep(&mut self, memory: &Memory) -> io::Result<()> {
        if self.kept == *memory {
            return Ok(());
        }
        if let Some(path) = &self.path {
            write(path, memory)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
        self.kept.clone_from(memory);
        Ok(())
    }
}

fn make_folder(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    match DirBuilder::new().mode(0o755).create(folder) {
        // Only what is ours alone is given away.
        Ok(()) if user != 0 => std::os::unix::fs::chown(folder, Some(user), Some(group)),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Memory> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let file = crate::files::open(path)?;
    if file.metadata()?.mode() & 0o022 != 0 {
        return Err(refused("others can write it: chmod 600"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(refused("larger than anything that was kept there"));
    }
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}

/// Whole or not at all: a new file takes the old one's place. It may get lost with the host's power: that costs hellos.
fn write(path: &Path, memory: &Memory) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // What is left of one that did not get so far; nothing that somebody else has put there is written to.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(memory)?)?;
    file.write_all(b"\n")?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again() {
        let dir = std::env::temp_dir().join(format!("coati-memory-{}", std::process::id()));
        let path = dir.join("ospf.json");
        let (mut file, error) = MemoryFile::open(Some(path.clone()), (0, 0));
        assert!(error.is_none() && *file.kept() == Memory::default());
        let memory = Memory { starts: 7, graceful_until: Some(1_790_000_000), ..Memory::default() };
        file.keep(&memory).unwrap();
        assert_eq!(*MemoryFile::open(Some(path.clone()), (0, 0)).0.kept(), memory);
        // Somebody has spoilt it: said, and done without.
        fs::write(&path, "{\"starts\": \"many\"}").unwrap();
        let (file, error) = MemoryFile::open(Some(path), (0, 0));
        assert_eq!(*file.kept(), Memory::default());
        assert!(error.unwrap().to_string().contains("ospf.json: "));
        // What somebody else can write, or has put there.
        let why = |path: &Path| MemoryFile::open(Some(path.to_owned()), (0, 0)).1.unwrap().to_string();
        let path = dir.join("ospf.json");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(why(&path).contains("others can write it"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(why(&path).contains("not a regular file"));
        fs::remove_file(&path).unwrap();
        let victim = dir.join("victim");
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, dir.join("ospf.json.new")).unwrap();
        let (mut file, _) = MemoryFile::open(Some(path.clone()), (0, 0));
        file.keep(&memory).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(*MemoryFile::open(Some(path), (0, 0)).0.kept(), memory);
        fs::remove_dir_all(dir).unwrap();
    }
}
