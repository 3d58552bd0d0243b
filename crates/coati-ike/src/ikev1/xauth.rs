//! XAUTH: a user name and a password under the protection of phase 1 (draft-ietf-ipsec-isakmp-xauth-06, generic type).

use coati_sadb::Secret;
use coati_wire::isakmp::{Attribute, AttributeValue, Configuration};

/// Names and passwords longer than this are refused.
const MAX_LEN: usize = 256;

mod class {
    pub(super) const TYPE: u16 = 16_520;
    pub(super) const USER_NAME: u16 = 16_521;
    pub(super) const USER_PASSWORD: u16 = 16_522;
    pub(super) const MESSAGE: u16 = 16_524;
    pub(super) const STATUS: u16 = 16_527;
    pub(super) const LAST: u16 = 16_529;
}

/// The vendor id of those that can do it.
pub(crate) const VENDOR: [u8; 8] = *b"\x09\x00\x26\x89\xdf\xd6\xb7\x12";

/// Whether a payload is about XAUTH and not about addresses.
pub(super) fn is_about(payload: &Configuration) -> bool {
    payload.attributes.iter().any(|attribute| (class::TYPE..=class::LAST).contains(&attribute.class))
}

/// A server's question.
pub(super) fn question() -> Vec<Attribute> {
    let empty = |class| Attribute { class, value: AttributeValue::Long(Vec::new()) };
    vec![number(class::TYPE, 0), empty(class::USER_NAME), empty(class::USER_PASSWORD)]
}

/// A client's answer; `None` when the server asks for more than name and password.
pub(super) fn answer(asked: &Configuration, user: &str, password: &Secret) -> Option<Vec<Attribute>> {
    let generic = asked.find(class::TYPE).is_none_or(|kind| kind.as_number() == Some(0));
    let simple = |attribute: &Attribute| {
        matches!(attribute.class, class::TYPE | class::USER_NAME | class::USER_PASSWORD | class::MESSAGE)
    };
    if !generic || !asked.attributes.iter().all(simple) {
        return None;
    }
    let long = |class, bytes: &[u8]| Attribute { class, value: AttributeValue::Long(bytes.to_vec()) };
    // Cisco's servers want the type back only when they have sent it.
    let mut list: Vec<Attribute> =
        asked.find(class::TYPE).map(|_| number(class::TYPE, 0)).into_iter().collect();
    list.extend([long(class::USER_NAME, user.as_bytes()), long(class::USER_PASSWORD, password.expose())]);
    Some(list)
}

/// Name and password of a client's answer.
pub(super) fn login(payload: &Configuration) -> Option<(String, Secret)> {
    let bytes = |class| match payload.find(class).map(|attribute| &attribute.value) {
        Some(AttributeValue::Long(bytes)) if bytes.len() <= MAX_LEN => Some(bytes.clone()),
        // Two letters fit the short form.
        Some(AttributeValue::Short(value)) => Some(value.to_be_bytes().to_vec()),
        _ => None,
    };
    let user = String::from_utf8(bytes(class::USER_NAME)?).ok()?;
    let sound = !user.is_empty() && !user.chars().any(char::is_control);
    let mut password = bytes(class::USER_PASSWORD)?;
    // Some clients end it with a zero byte.
    while password.last() == Some(&0) {
        password.pop();
    }
    let password = Secret::new(password);
    sound.then_some((user, password))
}

/// The server's verdict.
pub(super) fn status(passed: bool) -> Vec<Attribute> {
    vec![number(class::STATUS, u16::from(passed))]
}

/// Whether the server lets us in; `None` when that is not what it says.
pub(super) fn verdict(payload: &Configuration) -> Option<bool> {
    payload.find(class::STATUS).and_then(Attribute::as_number).map(|status| status == 1)
}

fn number(class: u16, value: u16) -> Attribute {
    Attribute { class, value: AttributeValue::Short(value) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn question_answer_verdict() {
        let payload = |attributes| Configuration { kind: 1, identifier: 7, attributes };
        let asked = payload(question());
        assert!(is_about(&asked));
        let answer = answer(&asked, "frida", &Secret::new(b"pa55".to_vec())).unwrap();
        let (user, password) = login(&payload(answer)).unwrap();
        assert_eq!((user.as_str(), password.expose()), ("frida", &b"pa55"[..]));
        assert_eq!(verdict(&payload(status(true))), Some(true));
        assert_eq!(verdict(&payload(status(false))), Some(false));
        assert_eq!(verdict(&asked), None);
    }

    proptest! {
        /// CVE-2013-5018 and its class: odd names.
        #[test]
        fn cve_2013_5018_odd_names(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let value = AttributeValue::Long(bytes);
            let attributes = vec![
                Attribute { class: class::USER_NAME, value: value.clone() },
                Attribute { class: class::USER_PASSWORD, value },
            ];
            let read = login(&Configuration { kind: 2, identifier: 0, attributes });
            prop_assert!(read.is_none_or(|(user, _)| user.len() <= MAX_LEN && !user.chars().any(char::is_control)));
        }
    }
}
