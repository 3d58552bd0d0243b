//! What racoon.conf names and this machine has to have: users, groups, hooks.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coati_config::racoon::{Account, Adminsock, RacoonConf, Script};
use coati_config::{Diagnostic, Origin, Severity};
use coati_os::process::{group_by_name, user_by_name};

/// What is missing.
pub(super) fn remarks(dir: &Path, conf: &RacoonConf) -> Vec<Diagnostic> {
    let privsep = &conf.privsep;
    let mut accounts: Vec<(&Account, bool, Origin)> = vec![
        (&privsep.user, true, privsep.user_origin.clone()),
        (&privsep.group, false, privsep.group_origin.clone()),
    ];
    if let Adminsock::At { owner, group, origin, .. } = &conf.listen.adminsock {
        accounts.push((owner, true, origin.clone()));
        accounts.push((group, false, origin.clone()));
    }
    let mut list = Vec::new();
    for (account, is_user, origin) in accounts {
        let Account::Name(name) = account else { continue };
        let (there, what) = match is_user {
            true => (user_by_name(name).is_some(), "user"),
            false => (group_by_name(name).is_some(), "group"),
        };
        if !there {
            let message = format!("there is no {what} `{name}` on this machine");
            let add = if is_user { "useradd" } else { "groupadd" };
            let help = format!("make it ({add} {name}), or correct the name");
            list.push(origin.remark(Severity::Error, message).help(help));
        }
    }
    let folder = conf.paths.script.as_ref().map(|entry| Path::new(&entry.path));
    let scripts = conf.remotes.iter().flat_map(|remote| &remote.scripts);
    list.extend(scripts.filter_map(|script| hook(&dir.join(folder.unwrap_or(Path::new(""))), script)));
    list
}

/// A hook that cannot be run. Peers come up without it, so it is a warning.
fn hook(folder: &Path, script: &Script) -> Option<Diagnostic> {
    let path = folder.join(&script.file.name);
    let shown = path.display();
    let (why, help) = match std::fs::metadata(&path) {
        Err(error) => (error.to_string(), format!("make {shown}, or correct the name")),
        Ok(meta) if !meta.is_file() => ("it is not a file".to_owned(), "correct the name".to_owned()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
            ("it is not executable".to_owned(), format!("chmod 755 {shown}"))
        }
        Ok(_) => return None,
    };
    let event = script.event.name();
    let message = format!("the {event} hook cannot be run: {why}");
    Some(script.file.origin.remark(Severity::Warning, message).help(help))
}
