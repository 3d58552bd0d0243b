//! The header arithmetic: how large a packet may be inside a tunnel so that it still fits outside.

use coati_sadb::{AuthAlgorithm, EncAlgorithm};
use coati_wire::esp;

/// Bytes of an outer IPv4 header.
pub const OUTER_IPV4: usize = 20;
/// Bytes of an outer IPv6 header.
pub const OUTER_IPV6: usize = 40;

/// The largest packet inside a GRE tunnel in ESP transport mode, in bytes. `outer_mtu` is the path's, `outer_header`
/// the IP header's length, `gre_header` GRE's (4 without options), `udp` whether ESP is wrapped in UDP (RFC 3948).
pub fn inner_mtu(
    outer_mtu: usize,
    outer_header: usize,
    gre_header: usize,
    enc: EncAlgorithm,
    auth: AuthAlgorithm,
    udp: bool,
) -> usize {
    let icv = if enc.is_aead() { coati_crypto::aead::TAG_LEN } else { auth.icv_len() };
    let fixed = outer_header + if udp { 8 } else { 0 } + esp::HEADER_LEN + enc.iv_len() + icv;
    let text = outer_mtu.saturating_sub(fixed);
    (text - text % enc.block_len()).saturating_sub(esp::TRAILER_LEN + gre_header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_suites() {
        use AuthAlgorithm as A;
        use EncAlgorithm as E;
        let inner = |enc, auth, udp| inner_mtu(1500, OUTER_IPV4, 4, enc, auth, udp);
        for (enc, auth, plain, udp) in [
            (E::AesCbc, A::HmacSha1, 1434, 1418),
            (E::AesCbc, A::HmacSha256, 1434, 1418),
            (E::TripleDesCbc, A::HmacSha1, 1442, 1434),
            (E::AesGcm16, A::None, 1442, 1434),
            (E::AesCbc, A::HmacSha512, 1418, 1402),
        ] {
            assert_eq!(inner(enc, auth, false), plain, "{enc:?} {auth:?}");
            assert_eq!(inner(enc, auth, true), udp, "{enc:?} {auth:?} in UDP");
        }
    }
}
