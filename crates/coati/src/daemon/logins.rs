//! `auth_source system`: whether somebody who logs in by XAUTH is a user of this system, with this password and in one of
//! the groups that racoon.conf names.
//!
//! A comparison takes as long as whoever made the hash wanted it to, so a thread of its own does them, one after the
//! other. For a name that nobody has it takes as long, so that time does not tell which names there are.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use coati_crypto::password::{self, PasswordError};
use coati_ike::LoginRequest;
use coati_os::accounts;

use super::threads::{FromThreads, ToControl};
use crate::clock::unix_seconds;

/// Logins that wait; who comes when there are as many is refused.
const MAX_WAITING: usize = 64;

/// Compared with when there is no such user, who is refused whatever comes out: yescrypt at Debian's cost.
const OF_NOBODY: &str = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$4cT1XRLT6DySXCxUCKRWFonjJQoecjIoQys0VZwcGL.";

struct Question {
    login: LoginRequest,
    groups: Vec<String>,
}

/// The verdict on a login.
#[derive(Debug)]
pub struct Verdict {
    /// Names it for the engine.
    pub id: u64,
    /// From where it came.
    pub remote: SocketAddr,
    /// Why not, for the log; the peer hears no reason.
    pub outcome: Result<(), String>,
}

/// The thread that compares passwords.
#[derive(Debug)]
pub struct Logins {
    questions: SyncSender<Question>,
}

impl Logins {
    /// Starts the thread; verdicts go to the control thread. It ends with this value.
    pub fn start(control: &ToControl) -> io::Result<Self> {
        let control = control.another()?;
        let (questions, receiver) = sync_channel(MAX_WAITING);
        let work = move |receiver: Receiver<Question>| {
            while let Ok(Question { login, groups }) = receiver.recv() {
                let outcome = decide(&login, &groups);
                control.send(FromThreads::Login(Verdict { id: login.id, remote: login.remote, outcome }));
            }
        };
        std::thread::Builder::new().name("login".into()).spawn(move || work(receiver))?;
        Ok(Self { questions })
    }

    /// Has a login decided about soon; the verdict at once when too many wait. The user has to be in one of `groups`,
    /// when there are any.
    pub fn ask(&self, login: LoginRequest, groups: &[String]) -> Option<Verdict> {
        let (id, remote) = (login.id, login.remote);
        let waits = self.questions.try_send(Question { login, groups: groups.to_vec() }).is_ok();
        let outcome = Err(format!("{MAX_WAITING} other logins wait"));
        (!waits).then_some(Verdict { id, remote, outcome })
    }
}

fn decide(login: &LoginRequest, groups: &[String]) -> Result<(), String> {
    let kept = accounts::password_of(&login.user, unix_seconds()).map_err(|error| error.to_string());
    let hash = match &kept {
        Ok(Some(kept)) => kept.hash.as_str(),
        Ok(None) | Err(_) => OF_NOBODY,
    };
    let fits = match password::verify(login.password.expose(), hash) {
        Err(PasswordError::Locked) => {
            // As long as for everybody else.
            let _ = password::verify(login.password.expose(), OF_NOBODY);
            Err(PasswordError::Locked)
        }
        other => other,
    };
    let kept = kept?.ok_or("there is no such user")?;
    if !fits.map_err(|error| error.to_string())? {
        return Err("the password is wrong".to_owned());
    }
    if let Some(why) = kept.refused {
        return Err(why.to_owned());
    }
    if !groups.is_empty() && !accounts::is_member(&login.user, groups).map_err(|error| error.to_string())? {
        return Err(format!("the user is in none of the groups {} (auth_groups)", groups.join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use coati_sadb::Secret;

    use super::*;

    fn login(user: &str, password: &str) -> LoginRequest {
        LoginRequest {
            id: 7,
            remote: "192.0.2.1:4500".parse().unwrap(),
            user: user.to_owned(),
            password: Secret::new(password.as_bytes().to_vec()),
        }
    }

    /// Also the password that the hash in the place of nobody's is of lets nobody in.
    #[test]
    fn nobody_gets_in() {
        let outcome = decide(&login("no such user", "pa55 w\u{f6}rd"), &[]);
        assert_eq!(outcome, Err("there is no such user".to_owned()));
        assert!(decide(&login("root", ""), &[]).is_err());
    }

    #[test]
    fn verdicts_come_and_too_many_questions_are_refused() {
        let (sender, receiver) = sync_channel(1024);
        let (_reader, wake) = std::os::unix::net::UnixStream::pair().unwrap();
        let logins = Logins::start(&ToControl { sender, wake }).unwrap();
        let refused =
            (0..3 * MAX_WAITING).filter_map(|_| logins.ask(login("no such user", "x"), &[])).count();
        assert!(refused > 0 && refused < 3 * MAX_WAITING, "{refused}");
        let Ok(FromThreads::Login(verdict)) = receiver.recv() else { panic!() };
        assert_eq!((verdict.id, verdict.outcome.is_err()), (7, true));
    }
}
