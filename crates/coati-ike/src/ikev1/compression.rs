//! IPComp beside ESP in quick mode (RFC 3173 section 4, RFC 2407 section 4.4.5): a second proposal of the same number,
//! which is taken together with the first or not at all. Its SPI is a CPI of two bytes; some peers write four.

use coati_wire::isakmp::{Attribute, Proposal, Transform};

/// Protocol identifier.
pub(crate) const PROTO_IPCOMP: u8 = 4;
/// Transform identifier of DEFLATE, the only algorithm.
const DEFLATE: u8 = 2;
/// Lowest index that means an SA of its own (RFC 3173 section 3.3).
const FIRST_CPI: u16 = 256;

/// What a policy says of compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// None.
    #[default]
    No,
    /// Where the peer can.
    Use,
    /// A peer that cannot gets no SA.
    Require,
}

/// The proposal of one transform, or the answer to one, with our index.
pub(crate) fn proposal(number: u8, cpi: u16, transform: Transform) -> Proposal {
    Proposal { number, protocol: PROTO_IPCOMP, spi: cpi.to_be_bytes().to_vec(), transforms: vec![transform] }
}

/// DEFLATE, with what the ESP transform beside it says of lifetime, mode and group.
pub(crate) fn transform(of_esp: &[Attribute], only_of_esp: &[u16]) -> Transform {
    let shared = of_esp.iter().filter(|attribute| !only_of_esp.contains(&attribute.class));
    Transform { number: 1, id: DEFLATE, attributes: shared.cloned().collect() }
}

/// The peer's index and the transform that can be taken.
pub(crate) fn acceptable(proposal: &Proposal) -> Option<(u16, &Transform)> {
    let cpi = match (proposal.protocol, proposal.spi.as_slice()) {
        (PROTO_IPCOMP, [high, low] | [0, 0, high, low]) => u16::from_be_bytes([*high, *low]),
        _ => return None,
    };
    let transform = proposal.transforms.iter().find(|transform| transform.id == DEFLATE)?;
    (cpi >= FIRST_CPI).then_some((cpi, transform))
}

/// What of the proposals that have to be taken together with one for ESP is taken, or why that one cannot be.
pub(crate) fn beside<'a>(
    wanted: Compression,
    beside: &[&'a Proposal],
) -> Result<Option<(u16, &'a Transform)>, Option<String>> {
    match (wanted, beside) {
        (Compression::No | Compression::Use, []) => Ok(None),
        (Compression::Require, []) => {
            Err(Some("the peer offers no compression, which our policy requires (ipcomp/…//use would do without)".into()))
        }
        (Compression::No, [one]) if one.protocol == PROTO_IPCOMP => Err(Some(
            "the peer wants compression: write ipcomp/transport//use before esp/… in the spdadd lines, or switch it off \
             there"
                .into(),
        )),
        (_, [one]) => {
            acceptable(one).map(Some).ok_or_else(|| Some("the peer offers no compression by deflate".into()))
        }
        _ => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_two_bytes_or_four() {
        let deflate = Transform { number: 1, id: DEFLATE, attributes: Vec::new() };
        let with = |spi: &[u8], id| Proposal {
            number: 1,
            protocol: PROTO_IPCOMP,
            spi: spi.to_vec(),
            transforms: vec![Transform { id, ..deflate.clone() }],
        };
        let cpi = |proposal: &Proposal| acceptable(proposal).map(|(cpi, _)| cpi);
        assert_eq!(cpi(&with(&[0x12, 0x34], DEFLATE)), Some(0x1234));
        assert_eq!(cpi(&with(&[0, 0, 0x12, 0x34], DEFLATE)), Some(0x1234));
        for spi in [&[1, 0, 0x12, 0x34][..], &[0, 255], &[0, 0, 0, 2], &[1], &[1, 2, 3], &[]] {
            assert_eq!(cpi(&with(spi, DEFLATE)), None, "{spi:?}");
        }
        // LZS.
        assert_eq!(cpi(&with(&[0x12, 0x34], 3)), None);
        assert_eq!(cpi(&proposal(1, 0x1234, deflate)), Some(0x1234));
    }

    /// strongSwan's has both behind each other: ESP with compression, and the same without.
    #[test]
    fn an_answer_with_a_second_choice_behind() {
        use crate::config::SaInfo;
        use crate::ikev1::proposal::{Encapsulation, accept_phase2, offer_phase2};
        use coati_sadb::{AuthAlgorithm, EncAlgorithm, Mode};

        let info = SaInfo {
            encryption: vec![(EncAlgorithm::AesCbc, 128)],
            authentication: vec![AuthAlgorithm::HmacSha1],
            ..SaInfo::default()
        };
        let wrap = |compression| Encapsulation { mode: Mode::Transport, udp: None, compression };
        // One transform, so that an offer looks like an answer.
        let answer = offer_phase2(&info, wrap(Compression::Use), 0x1000, Some(0x1234));
        for wanted in [Compression::Use, Compression::Require] {
            let (_, spi, cpi) = accept_phase2(&info, wrap(wanted), &answer).unwrap();
            assert_eq!((spi, cpi), (0x1000, Some(0x1234)));
        }
        assert!(accept_phase2(&info, wrap(Compression::No), &answer).is_err());
        let alone = offer_phase2(&info, wrap(Compression::No), 0x1000, None);
        assert_eq!(accept_phase2(&info, wrap(Compression::Use), &alone).unwrap().2, None);
        assert!(accept_phase2(&info, wrap(Compression::Require), &alone).is_err());
    }
}
