//! Identities of phase 1 (RFC 2407 section 4.6.2): what we say, what the peer says, and whether that is who it may be.

use std::net::{IpAddr, SocketAddr};

use coati_crypto::x509::Name;
use coati_wire::isakmp::Identity;

use crate::config::Identifier;

/// Longest name that is shown, in characters: it comes from the network.
const MAX_SHOWN: usize = 120;

/// What we say of ourselves. `None` when it has to come from a certificate.
pub(crate) fn own(identifier: &Identifier, local: SocketAddr) -> Option<Identity> {
    let plain = |kind, data: &[u8]| Some(Identity { kind, protocol: 0, port: 0, data: data.to_vec() });
    match identifier {
        Identifier::Address(given) => {
            let (kind, data) = address(given.unwrap_or(local.ip()));
            Some(Identity { kind, protocol: 17, port: 500, data })
        }
        Identifier::Fqdn(name) => plain(Identity::FQDN, name.as_bytes()),
        Identifier::UserFqdn(name) => plain(Identity::USER_FQDN, name.as_bytes()),
        Identifier::KeyId(bytes) => plain(Identity::KEY_ID, bytes),
        Identifier::Asn1Dn(name) => {
            plain(Identity::DER_ASN1_DN, Name::parse(name.as_deref()?).ok()?.as_der())
        }
    }
}

fn address(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (Identity::IPV4, address.octets().to_vec()),
        IpAddr::V6(address) => (Identity::IPV6, address.octets().to_vec()),
    }
}

/// Whether the peer may say this. A distinguished name may have `*` for values.
pub(crate) fn fits(identifier: &Identifier, said: &Identity, remote: SocketAddr) -> bool {
    let text = |kind, name: &str| said.kind == kind && said.data.eq_ignore_ascii_case(name.as_bytes());
    match identifier {
        Identifier::Address(given) => {
            let (kind, data) = address(given.unwrap_or(remote.ip()));
            (said.kind, &said.data) == (kind, &data)
        }
        Identifier::Fqdn(name) => text(Identity::FQDN, name),
        Identifier::UserFqdn(name) => text(Identity::USER_FQDN, name),
        Identifier::KeyId(bytes) => said.kind == Identity::KEY_ID && said.data == *bytes,
        Identifier::Asn1Dn(None) => said.kind == Identity::DER_ASN1_DN,
        Identifier::Asn1Dn(Some(pattern)) => {
            let name = Name::from_der(&said.data).ok().filter(|_| said.kind == Identity::DER_ASN1_DN);
            name.is_some_and(|name| Name::parse(pattern).is_ok_and(|pattern| pattern.matches(&name)))
        }
    }
}

/// Whether the peer is one of these; nobody in the list is anybody.
pub(crate) fn is_one_of(list: &[Identifier], said: &Identity, remote: SocketAddr) -> bool {
    list.is_empty() || list.iter().any(|wanted| fits(wanted, said, remote))
}

/// The name under which psk.txt may have a key.
pub(crate) fn name(said: &Identity) -> Option<String> {
    match said.kind {
        Identity::FQDN | Identity::USER_FQDN | Identity::KEY_ID => String::from_utf8(said.data.clone()).ok(),
        _ => said.address().map(|address| address.to_string()),
    }
}

/// For people; nothing of it can disturb a terminal or a log.
pub(crate) fn describe(said: &Identity) -> String {
    let kind = match said.kind {
        Identity::IPV4 | Identity::IPV6 => "address",
        Identity::FQDN => "fqdn",
        Identity::USER_FQDN => "user_fqdn",
        Identity::KEY_ID => "keyid",
        Identity::DER_ASN1_DN => "asn1dn",
        _ => "identity of another kind",
    };
    match (said.kind, name(said)) {
        (Identity::DER_ASN1_DN, _) if Name::from_der(&said.data).is_ok() => {
            Name::from_der(&said.data).map_or(String::new(), |name| format!("{kind} \"{name:.600}\""))
        }
        (Identity::DER_ASN1_DN, _) | (_, None) => format!("{kind} of {} bytes", said.data.len()),
        (_, Some(name)) => {
            let shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_default).collect();
            format!("{kind} {shown}")
        }
    }
}

/// As racoon.conf writes it.
pub(crate) fn wanted(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Address(None) => "address".into(),
        Identifier::Address(Some(address)) => format!("address {address}"),
        Identifier::Fqdn(name) => format!("fqdn {name}"),
        Identifier::UserFqdn(name) => format!("user_fqdn {name}"),
        Identifier::KeyId(bytes) => format!("keyid {}", String::from_utf8_lossy(bytes).escape_default()),
        Identifier::Asn1Dn(name) => format!("asn1dn {}", name.as_deref().unwrap_or("of its certificate")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> SocketAddr {
        "192.0.2.1:4500".parse().unwrap()
    }

    #[test]
    fn what_is_said_fits_what_is_wanted() {
        let all = [
            Identifier::Address(None),
            Identifier::Address(Some("2001:db8::1".parse().unwrap())),
            Identifier::Fqdn("a.example.org".into()),
            Identifier::UserFqdn("me@example.org".into()),
            Identifier::KeyId(vec![0, 255, 3]),
        ];
        for (i, said) in all.iter().enumerate() {
            for (j, wanted) in all.iter().enumerate() {
                assert_eq!(fits(wanted, &own(said, at()).unwrap(), at()), i == j, "{said:?} {wanted:?}");
            }
        }
        assert!(fits(&Identifier::Fqdn("A.EXAMPLE.ORG".into()), &own(&all[2], at()).unwrap(), at()));
        assert!(!fits(&Identifier::Fqdn("a.example.or".into()), &own(&all[2], at()).unwrap(), at()));
    }

    proptest! {
        #[test]
        fn hostile_identities_are_shown_harmlessly(kind: u8, data in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let said = Identity { kind, protocol: 0, port: 0, data };
            let shown = describe(&said);
            prop_assert!(shown.len() < 1600 && shown.chars().all(|c| !c.is_control()));
            let _ = fits(&Identifier::Fqdn("x".into()), &said, at());
        }
    }
}
