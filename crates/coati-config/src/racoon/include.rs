//! What `include` names: the texts are handed in, nothing here opens a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Source;

/// Gives the texts of included files.
pub trait IncludedFiles {
    /// The files that `pattern` matches, in the order of their names; none is no error here. The pattern is one of
    /// glob(3); `~` begins at the home folder, and what is relative begins at the folder of racoon.conf. An error is a
    /// sentence without a full stop.
    fn matching(&self, pattern: &str) -> Result<Vec<Arc<Source>>, String>;
}

/// Texts that were read before, by the pattern that names them.
#[derive(Clone, Debug, Default)]
pub struct Included(pub BTreeMap<String, Result<Vec<Arc<Source>>, String>>);

impl IncludedFiles for Included {
    fn matching(&self, pattern: &str) -> Result<Vec<Arc<Source>>, String> {
        self.0.get(pattern).cloned().unwrap_or_else(|| Ok(Vec::new()))
    }
}
