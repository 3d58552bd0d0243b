//! Identification, notification, delete and fragment payloads.

use crate::WireError;
use crate::error::{array, u16_at, u32_at};

/// Identification (RFC 2407 section 4.6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Kind: 1 is an IPv4 address, 4 an IPv4 network with its mask, 5 an IPv6 address.
    pub kind: u8,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port, 0 for any.
    pub port: u16,
    /// The identity.
    pub data: Vec<u8>,
}

impl Identity {
    /// Kind of an IPv4 address.
    pub const IPV4: u8 = 1;
    /// Kind of a domain name.
    pub const FQDN: u8 = 2;
    /// Kind of a mail address.
    pub const USER_FQDN: u8 = 3;
    /// Kind of an IPv4 network.
    pub const IPV4_SUBNET: u8 = 4;
    /// Kind of an IPv6 address.
    pub const IPV6: u8 = 5;
    /// Kind of an IPv6 network.
    pub const IPV6_SUBNET: u8 = 6;
    /// Kind of a range of IPv4 addresses.
    pub const IPV4_RANGE: u8 = 7;
    /// Kind of a range of IPv6 addresses.
    pub const IPV6_RANGE: u8 = 8;
    /// Kind of a distinguished name in DER.
    pub const DER_ASN1_DN: u8 = 9;
    /// Kind of bytes that both sides know.
    pub const KEY_ID: u8 = 11;

    /// Reads the body of the payload.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "identification";
        let [kind, protocol] = array(WHAT, body, 0)?;
        let port = u16_at(WHAT, body, 2)?;
        Ok(Self { kind, protocol, port, data: body.get(4..).unwrap_or(&[]).to_vec() })
    }

    /// The address, when it is one.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.kind {
            Self::IPV4 => <[u8; 4]>::try_from(self.data.as_slice()).ok().map(Into::into),
            Self::IPV6 => <[u8; 16]>::try_from(self.data.as_slice()).ok().map(Into::into),
            _ => None,
        }
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.protocol];
        bytes.extend_from_slice(&self.port.to_be_bytes());
        bytes.extend_from_slice(&self.data);
        bytes
    }
}

/// Notification (RFC 2408 section 3.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Domain of interpretation.
    pub doi: u32,
    /// 1 ISAKMP, 3 ESP.
    pub protocol: u8,
    /// The SA it is about: both cookies, or an SPI.
    pub spi: Vec<u8>,
    /// What is notified.
    pub kind: u16,
    /// More about it.
    pub data: Vec<u8>,
}

impl Notification {
    /// A bit of the header is set that must not be.
    pub const INVALID_FLAGS: u16 = 8;
    /// No proposal was acceptable.
    pub const NO_PROPOSAL_CHOSEN: u16 = 14;
    /// A payload could not be read: the usual sign of a wrong key.
    pub const PAYLOAD_MALFORMED: u16 = 16;
    /// The identities fit no policy.
    pub const INVALID_ID_INFORMATION: u16 = 18;
    /// A hash was wrong.
    pub const INVALID_HASH_INFORMATION: u16 = 23;
    /// The peer is not who it should be.
    pub const AUTHENTICATION_FAILED: u16 = 24;
    /// The SAs of a quick mode with the commit bit are in use (RFC 2408 section 3.1).
    pub const CONNECTED: u16 = 16_384;
    /// The responder will use a shorter lifetime.
    pub const RESPONDER_LIFETIME: u16 = 24_576;
    /// The peer has no other SAs with us.
    pub const INITIAL_CONTACT: u16 = 24_578;
    /// Are you there? (RFC 3706)
    pub const R_U_THERE: u16 = 36_136;
    /// Yes.
    pub const R_U_THERE_ACK: u16 = 36_137;

    /// Reads the body of the payload.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "notification";
        let doi = u32_at(WHAT, body, 0)?;
        let [protocol, spi_len] = array(WHAT, body, 4)?;
        let kind = u16_at(WHAT, body, 6)?;
        let spi_end = 8 + usize::from(spi_len);
        let wrong = WireError::Length { what: "SPI length of a notification", found: usize::from(spi_len) };
        let spi = body.get(8..spi_end).ok_or(wrong)?.to_vec();
        Ok(Self { doi, protocol, spi, kind, data: body.get(spi_end..).unwrap_or(&[]).to_vec() })
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = self.doi.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[self.protocol, u8::try_from(self.spi.len()).unwrap_or(0)]);
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.spi);
        bytes.extend_from_slice(&self.data);
        bytes
    }

    /// The name of a kind, as RFC 2408 section 3.14.1 writes it.
    pub fn name(kind: u16) -> String {
        const ERRORS: [&str; 30] = [
            "INVALID-PAYLOAD-TYPE",
            "DOI-NOT-SUPPORTED",
            "SITUATION-NOT-SUPPORTED",
            "INVALID-COOKIE",
            "INVALID-MAJOR-VERSION",
            "INVALID-MINOR-VERSION",
            "INVALID-EXCHANGE-TYPE",
            "INVALID-FLAGS",
            "INVALID-MESSAGE-ID",
            "INVALID-PROTOCOL-ID",
            "INVALID-SPI",
            "INVALID-TRANSFORM-ID",
            "ATTRIBUTES-NOT-SUPPORTED",
            "NO-PROPOSAL-CHOSEN",
            "BAD-PROPOSAL-SYNTAX",
            "PAYLOAD-MALFORMED",
            "INVALID-KEY-INFORMATION",
            "INVALID-ID-INFORMATION",
            "INVALID-CERT-ENCODING",
            "INVALID-CERTIFICATE",
            "CERT-TYPE-UNSUPPORTED",
            "INVALID-CERT-AUTHORITY",
            "INVALID-HASH-INFORMATION",
            "AUTHENTICATION-FAILED",
            "INVALID-SIGNATURE",
            "ADDRESS-NOTIFICATION",
            "NOTIFY-SA-LIFETIME",
            "CERTIFICATE-UNAVAILABLE",
            "UNSUPPORTED-EXCHANGE-TYPE",
            "UNEQUAL-PAYLOAD-LENGTHS",
        ];
        match kind {
            Self::CONNECTED => "CONNECTED".into(),
            Self::RESPONDER_LIFETIME => "RESPONDER-LIFETIME".into(),
            Self::INITIAL_CONTACT => "INITIAL-CONTACT".into(),
            Self::R_U_THERE => "R-U-THERE".into(),
            Self::R_U_THERE_ACK => "R-U-THERE-ACK".into(),
            _ => match usize::from(kind).checked_sub(1).and_then(|index| ERRORS.get(index)) {
                Some(name) => (*name).into(),
                None => format!("notification {kind}"),
            },
        }
    }
}

/// Delete (RFC 2408 section 3.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Domain of interpretation.
    pub doi: u32,
    /// 1 ISAKMP, 3 ESP.
    pub protocol: u8,
    /// The SAs that the sender has removed, all of one length.
    pub spis: Vec<Vec<u8>>,
}

impl Delete {
    /// Reads the body of the payload; number and length of the SPIs, neither of them 0, must fill it exactly.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "delete";
        let doi = u32_at(WHAT, body, 0)?;
        let [protocol, spi_len] = array(WHAT, body, 4)?;
        let count = usize::from(u16_at(WHAT, body, 6)?);
        let rest = body.get(8..).unwrap_or(&[]);
        let spi_len = usize::from(spi_len);
        if spi_len == 0 || count == 0 || Some(rest.len()) != count.checked_mul(spi_len) {
            return Err(WireError::Length { what: "number of SPIs", found: count });
        }
        Ok(Self { doi, protocol, spis: rest.chunks_exact(spi_len).map(<[u8]>::to_vec).collect() })
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let spi_len = self.spis.first().map_or(0, Vec::len);
        let mut bytes = self.doi.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[self.protocol, u8::try_from(spi_len).unwrap_or(0)]);
        bytes.extend_from_slice(&u16::try_from(self.spis.len()).unwrap_or(0).to_be_bytes());
        self.spis.iter().for_each(|spi| bytes.extend_from_slice(spi));
        bytes
    }
}

/// A piece of a message (Cisco's and Microsoft's IKE fragmentation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Names the message that it is a piece of.
    pub id: u16,
    /// Its place, from 1.
    pub number: u8,
    /// Whether it is the last.
    pub last: bool,
    /// The piece, never empty.
    pub data: Vec<u8>,
}

impl Fragment {
    /// Reads the body of the payload.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "fragment";
        let id = u16_at(WHAT, body, 0)?;
        let [number, flags] = array(WHAT, body, 2)?;
        let data = body.get(4..).unwrap_or(&[]).to_vec();
        if number == 0 || data.is_empty() {
            return Err(WireError::Value { what: "fragment number", found: u32::from(number) });
        }
        Ok(Self { id, number, last: flags & 1 != 0, data })
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[self.number, u8::from(self.last)]);
        bytes.extend_from_slice(&self.data);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Found by fuzzing: what says nothing was read, and written as something that could not be read again.
    #[test]
    fn a_delete_of_nothing_is_none() {
        assert!(Delete::parse(&[0, 0, 0, 1, 3, 4, 0, 0]).is_err());
        assert!(Delete::parse(&[0, 0, 0, 1, 3, 0, 0, 1]).is_err());
    }

    proptest! {
        #[test]
        fn round_trips(kind: u8, protocol: u8, port: u16, doi: u32, notify: u16, number in 1u8..=255, last: bool,
                       spi in prop::collection::vec(any::<u8>(), 1..17), data in prop::collection::vec(any::<u8>(), 1..40),
                       count in 1usize..5) {
            let id = Identity { kind, protocol, port, data: data.clone() };
            prop_assert_eq!(Identity::parse(&id.emit()).unwrap(), id);
            let n = Notification { doi, protocol, spi: spi.clone(), kind: notify, data: data.clone() };
            prop_assert_eq!(Notification::parse(&n.emit()).unwrap(), n);
            let d = Delete { doi, protocol, spis: vec![spi; count] };
            prop_assert_eq!(Delete::parse(&d.emit()).unwrap(), d);
            let f = Fragment { id: port, number, last, data };
            prop_assert_eq!(Fragment::parse(&f.emit()).unwrap(), f);
        }
    }
}
