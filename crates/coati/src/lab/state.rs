//! What other commands need to know of a running lab, in a file below the user's runtime folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The processes of a running lab.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// Its supervisor.
    pub supervisor: u32,
    /// When that began: its number alone may be another process's by now.
    pub began: Option<u64>,
    /// Node name to the process that holds its namespaces.
    pub nodes: BTreeMap<String, u32>,
}

impl State {
    /// The folder that everything of the lab is written below: nobody else may look into it.
    ///
    /// It is found once: inside a user namespace the same user has another number.
    pub fn dir() -> io::Result<PathBuf> {
        static DIR: OnceLock<PathBuf> = OnceLock::new();
        if let Some(dir) = DIR.get() {
            return Ok(dir.clone());
        }
        let uid = coati_os::process::user();
        let dir = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(runtime) if !runtime.is_empty() => PathBuf::from(runtime).join("coati-lab"),
            _ => std::env::temp_dir().join(format!("coati-lab-{uid}")),
        };
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let meta = fs::symlink_metadata(&dir)?;
        if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
            let message = format!("{} is not a folder of ours alone: remove it", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(DIR.get_or_init(|| dir).clone())
    }

    fn path() -> io::Result<PathBuf> {
        Ok(Self::dir()?.join("state.json"))
    }

    /// The running lab, if there is one.
    pub fn load() -> io::Result<Option<Self>> {
        match fs::read(Self::path()?) {
            Ok(bytes) => {
                // One that cannot be read was being written when its lab was killed.
                let Ok(state) = serde_json::from_slice::<Self>(&bytes) else { return Ok(None) };
                Ok(state.is_running().then_some(state))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether its supervisor still runs.
    pub fn is_running(&self) -> bool {
        let began = coati_os::process::began(self.supervisor);
        began.is_some() && began == self.began
    }

    /// Keeps others from starting a lab as long as the file is held.
    pub fn lock() -> io::Result<fs::File> {
        let file = fs::File::create(Self::dir()?.join("lock"))?;
        file.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another lab is running or starting; see `coati lab down`",
            )
        })?;
        Ok(file)
    }

    /// Writes it down.
    pub fn save(&self) -> io::Result<()> {
        fs::write(Self::path()?, serde_json::to_vec(self)?)
    }

    /// Forgets it, logs included.
    pub fn remove() -> io::Result<()> {
        match fs::remove_dir_all(Self::dir()?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The process that holds the namespaces of a node.
    pub fn pid_of(&self, node: &str) -> io::Result<u32> {
        self.nodes.get(node).copied().ok_or_else(|| {
            let names: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
            let message = format!("no node is called {node}; there are {}", names.join(", "));
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }
}
