//! The attribute payload of transaction exchanges (draft-ietf-ipsec-isakmp-mode-cfg section 3.2).
//!
//! ```text
//!  0 type  1 reserved  2..4 identifier; then attributes as in transforms
//! ```

use super::sa::{Attribute, emit_attributes, parse_attributes};
use crate::WireError;
use crate::error::{array, u16_at};

/// Attributes in one payload at the most.
const MAX_ATTRIBUTES: usize = 64;

/// An attribute payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Request, reply, set or acknowledgement.
    pub kind: u8,
    /// Says which request a reply is for.
    pub identifier: u16,
    /// What is asked, answered or set; an empty long value asks.
    pub attributes: Vec<Attribute>,
}

impl Configuration {
    /// ISAKMP_CFG_REQUEST.
    pub const REQUEST: u8 = 1;
    /// ISAKMP_CFG_REPLY.
    pub const REPLY: u8 = 2;
    /// ISAKMP_CFG_SET.
    pub const SET: u8 = 3;
    /// ISAKMP_CFG_ACK.
    pub const ACK: u8 = 4;

    /// Reads the body of the payload.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "attribute payload";
        let [kind, _] = array(WHAT, body, 0)?;
        let identifier = u16_at(WHAT, body, 2)?;
        let attributes = parse_attributes(body.get(4..).unwrap_or(&[]), MAX_ATTRIBUTES)?;
        Ok(Self { kind, identifier, attributes })
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let [high, low] = self.identifier.to_be_bytes();
        let mut bytes = vec![self.kind, 0, high, low];
        emit_attributes(&mut bytes, &self.attributes);
        bytes
    }

    /// The first attribute of this class.
    pub fn find(&self, class: u16) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.class == class)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{AttributeValue, Certificate};
    use super::*;

    proptest! {
        #[test]
        fn round_trips(kind: u8, identifier: u16, encoding: u8, short in 0u16..0x8000, value: u16,
                       long in prop::collection::vec(any::<u8>(), 0..40)) {
            let attributes = vec![
                Attribute { class: short, value: AttributeValue::Short(value) },
                Attribute { class: short, value: AttributeValue::Long(long.clone()) },
            ];
            let payload = Configuration { kind, identifier, attributes };
            prop_assert_eq!(Configuration::parse(&payload.emit()).unwrap(), payload);
            let payload = Certificate { encoding, data: long };
            prop_assert_eq!(Certificate::parse(&payload.emit()).unwrap(), payload);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Configuration::parse(&bytes), Certificate::parse(&bytes));
        }

        #[test]
        fn lengths_beyond_the_end_are_refused(length in 5u16..) {
            let mut body = vec![1, 0, 0, 1, 0x40, 0x89];
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(&[0; 4]);
            prop_assert!(Configuration::parse(&body).is_err());
        }
    }
}
