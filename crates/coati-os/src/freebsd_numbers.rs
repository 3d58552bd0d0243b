//! What is written down about FreeBSD elsewhere, held against the numbers of its headers.

use coati_wire::pf_route::{HEADER_LEN, VERSION, flag, kind};
use coati_wire::pfkey::{auth, compress, encrypt, extension, message, sa_type};

#[expect(dead_code, reason = "some are for the folder of FreeBSD alone")]
#[path = "freebsd/numbers.rs"]
mod numbers;

#[test]
fn pf_key_is_that_of_the_header() {
    let pairs: &[(u64, u64)] = &[
        (message::GETSPI.into(), numbers::SADB_GETSPI),
        (message::UPDATE.into(), numbers::SADB_UPDATE),
        (message::ADD.into(), numbers::SADB_ADD),
        (message::DELETE.into(), numbers::SADB_DELETE),
        (message::GET.into(), numbers::SADB_GET),
        (message::ACQUIRE.into(), numbers::SADB_ACQUIRE),
        (message::REGISTER.into(), numbers::SADB_REGISTER),
        (message::EXPIRE.into(), numbers::SADB_EXPIRE),
        (message::FLUSH.into(), numbers::SADB_FLUSH),
        (message::DUMP.into(), numbers::SADB_DUMP),
        (message::SPDUPDATE.into(), numbers::SADB_X_SPDUPDATE),
        (message::SPDADD.into(), numbers::SADB_X_SPDADD),
        (message::SPDDELETE.into(), numbers::SADB_X_SPDDELETE),
        (message::SPDDUMP.into(), numbers::SADB_X_SPDDUMP),
        (message::SPDFLUSH.into(), numbers::SADB_X_SPDFLUSH),
        (message::SPDEXPIRE.into(), numbers::SADB_X_SPDEXPIRE),
        (message::SPDDELETE2.into(), numbers::SADB_X_SPDDELETE2),
        (extension::SA.into(), numbers::SADB_EXT_SA),
        (extension::LIFETIME_CURRENT.into(), numbers::SADB_EXT_LIFETIME_CURRENT),
        (extension::LIFETIME_HARD.into(), numbers::SADB_EXT_LIFETIME_HARD),
        (extension::LIFETIME_SOFT.into(), numbers::SADB_EXT_LIFETIME_SOFT),
        (extension::ADDRESS_SOURCE.into(), numbers::SADB_EXT_ADDRESS_SRC),
        (extension::ADDRESS_DESTINATION.into(), numbers::SADB_EXT_ADDRESS_DST),
        (extension::KEY_AUTH.into(), numbers::SADB_EXT_KEY_AUTH),
        (extension::KEY_ENCRYPT.into(), numbers::SADB_EXT_KEY_ENCRYPT),
        (extension::SUPPORTED_AUTH.into(), numbers::SADB_EXT_SUPPORTED_AUTH),
        (extension::SUPPORTED_ENCRYPT.into(), numbers::SADB_EXT_SUPPORTED_ENCRYPT),
        (extension::SPI_RANGE.into(), numbers::SADB_EXT_SPIRANGE),
        (extension::POLICY.into(), numbers::SADB_X_EXT_POLICY),
        (extension::SA2.into(), numbers::SADB_X_EXT_SA2),
        (extension::NAT_T_TYPE.into(), numbers::SADB_X_EXT_NAT_T_TYPE),
        (extension::NAT_T_SOURCE_PORT.into(), numbers::SADB_X_EXT_NAT_T_SPORT),
        (extension::NAT_T_DESTINATION_PORT.into(), numbers::SADB_X_EXT_NAT_T_DPORT),
        (extension::NAT_T_ORIGINAL.into(), numbers::SADB_X_EXT_NAT_T_OAI),
        (extension::SA_REPLAY.into(), numbers::SADB_X_EXT_SA_REPLAY),
        (sa_type::AH.into(), numbers::SADB_SATYPE_AH),
        (sa_type::ESP.into(), numbers::SADB_SATYPE_ESP),
        (sa_type::IPCOMP.into(), numbers::SADB_X_SATYPE_IPCOMP),
        (auth::SHA1_HMAC.into(), numbers::SADB_AALG_SHA1HMAC),
        (auth::SHA256_HMAC.into(), numbers::SADB_X_AALG_SHA2_256),
        (auth::SHA384_HMAC.into(), numbers::SADB_X_AALG_SHA2_384),
        (auth::SHA512_HMAC.into(), numbers::SADB_X_AALG_SHA2_512),
        (encrypt::TRIPLE_DES_CBC.into(), numbers::SADB_EALG_3DESCBC),
        (encrypt::NULL.into(), numbers::SADB_EALG_NULL),
        (encrypt::AES_CBC.into(), numbers::SADB_X_EALG_AES),
        (encrypt::AES_GCM_16.into(), numbers::SADB_X_EALG_AESGCM16),
        (compress::DEFLATE.into(), numbers::SADB_X_CALG_DEFLATE),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours, theirs);
    }
}

/// Where fields lie, as coati-wire writes and reads them.
#[test]
fn structures_are_those_of_the_headers() {
    let fields = [
        (4, numbers::OFFSET_OF_SADB_SA_SPI),
        (12, numbers::OFFSET_OF_SADB_SA_FLAGS),
        (4, numbers::OFFSET_OF_SADB_X_SA2_MODE),
        (8, numbers::OFFSET_OF_SADB_X_SA2_SEQUENCE),
        (12, numbers::OFFSET_OF_SADB_X_SA2_REQID),
        (6, numbers::OFFSET_OF_SADB_X_POLICY_DIR),
        (7, numbers::OFFSET_OF_SADB_X_POLICY_SCOPE),
        (8, numbers::OFFSET_OF_SADB_X_POLICY_ID),
        (12, numbers::OFFSET_OF_SADB_X_POLICY_PRIORITY),
        (16, numbers::SIZE_OF_SADB_X_POLICY),
        (8, numbers::SIZE_OF_SADB_X_IPSECREQUEST),
        (4, numbers::OFFSET_OF_SADB_X_IPSECREQUEST_MODE),
        (5, numbers::OFFSET_OF_SADB_X_IPSECREQUEST_LEVEL),
        (6, numbers::OFFSET_OF_SADB_X_IPSECREQUEST_REQID),
        (16, numbers::SIZE_OF_SOCKADDR_IN),
        (28, numbers::SIZE_OF_SOCKADDR_IN6),
        (28, numbers::AF_INET6),
        (HEADER_LEN as u64, numbers::SIZE_OF_RT_MSGHDR),
        (8, numbers::OFFSET_OF_RTM_FLAGS),
        (12, numbers::OFFSET_OF_RTM_ADDRS),
        (20, numbers::OFFSET_OF_RTM_SEQ),
        (24, numbers::OFFSET_OF_RTM_ERRNO),
        (VERSION.into(), numbers::RTM_VERSION),
        (kind::ADD.into(), numbers::RTM_ADD),
        (kind::DELETE.into(), numbers::RTM_DELETE),
        (kind::CHANGE.into(), numbers::RTM_CHANGE),
        (kind::GET.into(), numbers::RTM_GET),
        (flag::UP.into(), numbers::RTF_UP),
        (flag::GATEWAY.into(), numbers::RTF_GATEWAY),
        (flag::HOST.into(), numbers::RTF_HOST),
        (flag::STATIC.into(), numbers::RTF_STATIC),
        (flag::BLACKHOLE.into(), numbers::RTF_BLACKHOLE),
        (flag::PROTO1.into(), numbers::RTF_PROTO1),
        (flag::PROTO2.into(), numbers::RTF_PROTO2),
        (flag::PROTO3.into(), numbers::RTF_PROTO3),
    ];
    for (ours, theirs) in fields {
        assert_eq!(ours, theirs);
    }
}
