//! The accounts of this system as its own files have them: /etc/passwd, /etc/group, /etc/shadow. What a name service
//! such as LDAP adds is not looked at.

use std::io;

use zeroize::Zeroizing;

/// What the system keeps of a user's password.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its hash, in the form of crypt(5).
    pub hash: Zeroizing<String>,
    /// Why nobody may log in with it now, whatever the password.
    pub refused: Option<&'static str>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// What is kept of this user's password; `None` when there is no such user. `unix_time` is now, in seconds. Reading it is
/// for root.
pub fn password_of(user: &str, unix_time: u64) -> io::Result<Option<Kept>> {
    let accounts = read("/etc/passwd")?;
    if line_of(&accounts, user).is_none() {
        return Ok(None);
    }
    let shadow = read("/etc/shadow")?;
    Ok(line_of(&shadow, user).map(|line| kept(line, unix_time / 86_400)))
}

/// Whether this user is in one of these groups, as its first group or as one of its members.
pub fn is_member(user: &str, groups: &[String]) -> io::Result<bool> {
    Ok(is_member_in(&read("/etc/passwd")?, &read("/etc/group")?, user, groups))
}

fn read(path: &str) -> io::Result<Zeroizing<String>> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(explain)
}

/// The line whose first field is this.
fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.split(':').next() == Some(name))
}

/// shadow(5); days are counted from 1970 on.
fn kept(line: &str, today: u64) -> Kept {
    let mut fields = line.split(':').skip(1);
    let mut field = || fields.next().unwrap_or("");
    let hash = Zeroizing::new(field().to_owned());
    let [changed, _, longest, _, _, expires] = std::array::from_fn(|_| field().parse::<u64>().ok());
    let refused = if expires.is_some_and(|day| today >= day) {
        Some("the account has expired")
    } else if changed == Some(0) {
        Some("the password has to be changed first")
    } else if changed.zip(longest).is_some_and(|(day, days)| today > day.saturating_add(days)) {
        Some("the password has expired")
    } else {
        None
    };
    Kept { hash, refused }
}

fn is_member_in(accounts: &str, all_groups: &str, user: &str, wanted: &[String]) -> bool {
    let Some(first) = line_of(accounts, user).and_then(|line| line.split(':').nth(3)) else { return false };
    wanted.iter().any(|name| {
        let Some(line) = line_of(all_groups, name) else { return false };
        let mut fields = line.split(':').skip(2);
        let number = fields.next();
        let members = fields.next().unwrap_or("");
        number == Some(first) || members.split(',').any(|member| member == user)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHADOW: &str = "root:*:19000:0:99999:7:::\nann:$y$x:19000:0:100:7:::\nbob:$6$x:0:0:::::\n\
                          cyd:$6$x:19000:0:99999:7::19500:\ndan:$6$x:::::::\n";

    fn refused(user: &str, today: u64) -> Option<&'static str> {
        kept(line_of(SHADOW, user).unwrap(), today).refused
    }

    #[test]
    fn shadow() {
        assert_eq!(kept(line_of(SHADOW, "ann").unwrap(), 19_000).hash.as_str(), "$y$x");
        assert_eq!((refused("ann", 19_100), refused("root", 25_000)), (None, None));
        assert_eq!(refused("ann", 19_101), Some("the password has expired"));
        assert_eq!(refused("bob", 19_000), Some("the password has to be changed first"));
        assert_eq!(refused("cyd", 19_499), None);
        assert_eq!(refused("cyd", 19_500), Some("the account has expired"));
        assert_eq!(refused("dan", 30_000), None);
        assert!(line_of(SHADOW, "an").is_none() && line_of(SHADOW, "ann:$y$x").is_none());
        assert!(!format!("{:?}", kept(SHADOW, 1)).contains('$'));
    }

    #[test]
    fn groups() {
        let accounts = "ann:x:1000:500::/:/bin/sh\nbob:x:1001:501::/:/bin/sh\n";
        let groups = "vpn:x:500:\nstaff:x:502:cyd,bob\n";
        let is = |user, wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            is_member_in(accounts, groups, user, &wanted)
        };
        assert!(is("ann", &["vpn"]) && is("bob", &["vpn", "staff"]));
        assert!(!is("bob", &["vpn"]) && !is("ann", &["staff"]) && !is("ann", &[]));
        assert!(!is("", &["vpn"]) && !is("ann", &["nobody"]) && !is("eve", &["vpn", "staff"]));
    }

    #[test]
    fn of_this_system() {
        assert!(is_member("root", &["root".to_owned(), "wheel".to_owned()]).unwrap());
        assert_eq!(password_of("no such user", 0).unwrap(), None);
    }

    proptest! {
        #[test]
        fn odd_files(text in "[a:$\\n,0-9]{0,200}", name in "[a:]{0,3}") {
            let found = line_of(&text, &name).map(|line| kept(line, 20_000));
            prop_assert!(found.is_none_or(|found| text.contains(found.hash.as_str())));
            is_member_in(&text, &text, &name, std::slice::from_ref(&name));
        }
    }
}
