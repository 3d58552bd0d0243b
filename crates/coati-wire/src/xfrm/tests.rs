use proptest::prelude::*;

use super::*;

/// A message of any type that is looked into, with any bytes behind its header.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(2u16), Just(3), 0x10u16..0x1e];
    (kind, any::<u16>(), any::<u32>(), any::<[u8; 280]>(), 0usize..4, any_attributes()).prop_map(
        |(kind, flags, sequence, body, cut, attributes)| {
            let length = match kind {
                0x10 | 0x1a => 224,
                0x11 | 0x12 => 24,
                0x13 | 0x19 => 168,
                0x14 | 0x15 => 64,
                0x16 | 0x18 => 232,
                0x17 => 280,
                0x1c => 4,
                2 => 20,
                3 => 4,
                _ => 0,
            };
            let body = body.get(..length - cut.min(length)).unwrap_or(&[]);
            let mut bytes = vec![0; 4];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(body);
            bytes.extend(attributes);
            let length = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes
        },
    )
}

fn any_attributes() -> impl Strategy<Value = Vec<u8>> {
    let lengths = |kind: u16| match kind {
        1..=3 => 68 + 16,
        4 => 24,
        5 => 128,
        6 => 224,
        7 => 168,
        9 => 32,
        10 => 12,
        13 => 16,
        18 | 20 => 72 + 20,
        23 => 24 + 8,
        _ => 8,
    };
    let one = (1u16..33, any::<[u8; 224]>()).prop_map(move |(kind, mut value)| {
        match kind {
            1..=3 => value[64..68].copy_from_slice(&128u32.to_ne_bytes()),
            18 | 20 => value[64..68].copy_from_slice(&160u32.to_ne_bytes()),
            23 => value[..4].copy_from_slice(&2u32.to_ne_bytes()),
            _ => {}
        }
        // A name is text.
        if matches!(kind, 1..=3 | 18 | 20) {
            value[..64].iter_mut().for_each(|byte| *byte &= 0x7f);
        }
        let mut bytes = Vec::new();
        attribute::emit(&mut bytes, kind, &[&value[..lengths(kind)]]);
        bytes
    });
    proptest::collection::vec(one, 0..4).prop_map(|list| list.concat())
}

proptest! {
    #[test]
    fn what_parses_is_emitted_and_parses_to_the_same(bytes in any_message()) {
        if let Ok((message, rest)) = Message::parse(&bytes) {
            prop_assert!(rest.is_empty());
            let again = message.emit();
            prop_assert_eq!(Message::parse(&again), Ok((message.clone(), &[][..])));
        }
    }

    #[test]
    fn any_bytes_are_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER_LEN + 1);
    }

    #[test]
    fn cut_messages_are_no_danger(bytes in any_message(), cut in 0usize..600) {
        let _ = Message::parse(bytes.get(..cut).unwrap_or(&bytes));
    }
}

/// As `gcc` lays out linux/xfrm.h on 64-bit systems.
#[test]
fn structures_have_the_kernels_lengths() {
    let length = |body: Body<'_>| Message::request(body, Vec::new()).emit().len() - HEADER_LEN;
    assert_eq!(length(Body::NewSa(SaInfo::default())), 224);
    assert_eq!(length(Body::GetSa(SaId::default())), 24);
    assert_eq!(length(Body::AllocateSpi(SpiRange::default())), 232);
    assert_eq!(length(Body::NewPolicy(PolicyInfo::default())), 168);
    assert_eq!(length(Body::GetPolicy(PolicyId::default())), 64);
    assert_eq!(length(Body::Acquire(Acquire::default())), 280);
    assert_eq!(length(Body::Expire(Expire::default())), 232);
    assert_eq!(length(Body::Mapping(Mapping::default())), 64);
    let attribute =
        |attribute| Message::request(Body::FlushPolicies, vec![attribute]).emit().len() - HEADER_LEN - 4;
    assert_eq!(attribute(Attribute::Templates(vec![Template::default()])), 64);
    assert_eq!(attribute(Attribute::Encap(Encap::default())), 24);
    assert_eq!(attribute(Attribute::ReplayEsn(ReplayEsn::default())), 24);
    assert_eq!(attribute(Attribute::Offload(Offload::default())), 8);
    let algorithm = Algorithm { name: "cbc(aes)", key: &[1; 16], icv_bits: 0 };
    assert_eq!(attribute(Attribute::Crypt(algorithm)), 84);
    assert_eq!(attribute(Attribute::AuthTruncated(algorithm)), 88);
}

#[test]
fn an_error_has_its_text() {
    let error = Body::Error { errno: 22, text: Some("Invalid mode") };
    let flags = flag::ACK_TLVS | flag::CAPPED;
    let bytes = Message { flags, sequence: 7, body: error, attributes: Vec::new() }.emit();
    let (found, _) = Message::parse(&bytes).unwrap();
    assert_eq!((found.sequence, found.body), (7, error));
    // Without the flag there are no attributes.
    let bytes = Message { flags: 0, sequence: 7, body: error, attributes: Vec::new() }.emit();
    assert_eq!(Message::parse(&bytes).unwrap().0.body, Body::Error { errno: 22, text: None });
}

#[test]
fn keys_are_not_printed() {
    let algorithm = Algorithm { name: "cbc(aes)", key: b"sixteen letters!", icv_bits: 0 };
    let printed = format!("{:?}", Attribute::Crypt(algorithm));
    assert_eq!(printed, "Crypt(Algorithm(cbc(aes), key of 16 bytes, 0 bits of ICV))");
}

#[test]
fn addresses_are_of_a_family() {
    for text in ["192.0.2.1", "2001:db8::1"] {
        let ip: std::net::IpAddr = text.parse().unwrap();
        let family = if ip.is_ipv4() { family::INET } else { family::INET6 };
        assert_eq!(Address::from(ip).ip(family), Some(ip));
        assert_eq!(Address::from(ip).ip(0), None);
    }
}
