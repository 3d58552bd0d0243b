//! The security association payload: proposals, transforms, attributes (RFC 2408 sections 3.3 to 3.6).

use super::kind;
use crate::WireError;
use crate::error::{array, u16_at, u32_at};

/// Proposals in one payload at the most.
const MAX_PROPOSALS: usize = 20;
/// Transforms in one proposal at the most.
const MAX_TRANSFORMS: usize = 200;
/// Attributes in one transform at the most.
const MAX_ATTRIBUTES: usize = 32;

/// What is offered or chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityAssociation {
    /// Domain of interpretation; 1 is IPsec.
    pub doi: u32,
    /// Situation; 1 is "identity only".
    pub situation: u32,
    /// Alternatives, in order of preference; equal numbers belong together.
    pub proposals: Vec<Proposal>,
}

/// One protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Number.
    pub number: u8,
    /// 1 ISAKMP, 2 AH, 3 ESP, 4 IPComp.
    pub protocol: u8,
    /// SPI of the sender, which it wants to receive with.
    pub spi: Vec<u8>,
    /// Alternatives, in order of preference.
    pub transforms: Vec<Transform>,
}

/// One set of algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Number.
    pub number: u8,
    /// In phase 1 KEY_IKE (1), in phase 2 the cipher.
    pub id: u8,
    /// What else it takes.
    pub attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Class, without the format bit.
    pub class: u16,
    /// Value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// In the short form.
    Short(u16),
    /// In the long form.
    Long(Vec<u8>),
}

impl Attribute {
    /// An attribute whose value is a number, in the shortest form.
    pub fn number(class: u16, value: u32) -> Self {
        let value = match u16::try_from(value) {
            Ok(short) => AttributeValue::Short(short),
            Err(_) => AttributeValue::Long(value.to_be_bytes().to_vec()),
        };
        Self { class, value }
    }

    /// Its value as a number; `None` when it is longer than 32 bits.
    pub fn as_number(&self) -> Option<u32> {
        match &self.value {
            AttributeValue::Short(value) => Some(u32::from(*value)),
            AttributeValue::Long(bytes) if bytes.len() <= 4 => {
                Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
            }
            AttributeValue::Long(_) => None,
        }
    }
}

impl Transform {
    /// The number that an attribute of this class has.
    pub fn number_of(&self, class: u16) -> Option<u32> {
        self.attributes.iter().find(|attribute| attribute.class == class).and_then(Attribute::as_number)
    }
}

impl SecurityAssociation {
    /// Reads the body of the payload.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "SA payload";
        let (doi, situation) = (u32_at(WHAT, body, 0)?, u32_at(WHAT, body, 4)?);
        let list = nested(kind::PROPOSAL, body.get(8..).unwrap_or(&[]), MAX_PROPOSALS, "proposals")?;
        let proposals = list.into_iter().map(Proposal::parse).collect::<Result<_, _>>()?;
        Ok(Self { doi, situation, proposals })
    }

    /// The body of the payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = [self.doi.to_be_bytes(), self.situation.to_be_bytes()].concat();
        emit_nested(&mut bytes, kind::PROPOSAL, self.proposals.iter().map(Proposal::emit).collect());
        bytes
    }
}

impl Proposal {
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "proposal";
        let [number, protocol, spi_len, count] = array(WHAT, body, 0)?;
        let spi_end = 4 + usize::from(spi_len);
        let wrong = WireError::Length { what: "SPI length", found: usize::from(spi_len) };
        let spi = body.get(4..spi_end).ok_or(wrong)?.to_vec();
        let list = nested(kind::TRANSFORM, body.get(spi_end..).unwrap_or(&[]), MAX_TRANSFORMS, "transforms")?;
        if list.len() != usize::from(count) {
            return Err(WireError::Value { what: "number of transforms", found: u32::from(count) });
        }
        let transforms = list.into_iter().map(Transform::parse).collect::<Result<_, _>>()?;
        Ok(Self { number, protocol, spi, transforms })
    }

    fn emit(&self) -> Vec<u8> {
        let count = u8::try_from(self.transforms.len()).unwrap_or(u8::MAX);
        let spi_len = u8::try_from(self.spi.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![self.number, self.protocol, spi_len, count];
        bytes.extend_from_slice(&self.spi);
        emit_nested(&mut bytes, kind::TRANSFORM, self.transforms.iter().map(Transform::emit).collect());
        bytes
    }
}

impl Transform {
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "transform";
        let [number, id, _, _] = array(WHAT, body, 0)?;
        let attributes = parse_attributes(body.get(4..).unwrap_or(&[]), MAX_ATTRIBUTES)?;
        Ok(Self { number, id, attributes })
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.number, self.id, 0, 0];
        emit_attributes(&mut bytes, &self.attributes);
        bytes
    }
}

/// Attributes (RFC 2408 section 3.3) up to the end of `rest`.
pub(super) fn parse_attributes(mut rest: &[u8], limit: usize) -> Result<Vec<Attribute>, WireError> {
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        if attributes.len() == limit {
            return Err(WireError::TooMany { what: "attributes", limit });
        }
        let (class, value) = (u16_at("attribute", rest, 0)?, u16_at("attribute", rest, 2)?);
        let (value, length) = if class & 0x8000 != 0 {
            (AttributeValue::Short(value), 4)
        } else {
            let length = 4 + usize::from(value);
            let wrong = WireError::Length { what: "attribute length", found: usize::from(value) };
            (AttributeValue::Long(rest.get(4..length).ok_or(wrong)?.to_vec()), length)
        };
        attributes.push(Attribute { class: class & 0x7fff, value });
        rest = rest.get(length..).unwrap_or(&[]);
    }
    Ok(attributes)
}

pub(super) fn emit_attributes(bytes: &mut Vec<u8>, attributes: &[Attribute]) {
    for attribute in attributes {
        match &attribute.value {
            AttributeValue::Short(value) => {
                bytes.extend_from_slice(&(attribute.class | 0x8000).to_be_bytes());
                bytes.extend_from_slice(&value.to_be_bytes());
            }
            AttributeValue::Long(value) => {
                bytes.extend_from_slice(&attribute.class.to_be_bytes());
                bytes.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
    }
}

/// The bodies of a chain whose elements are all of one kind.
fn nested<'a>(
    wanted: u8,
    mut rest: &'a [u8],
    limit: usize,
    what: &'static str,
) -> Result<Vec<&'a [u8]>, WireError> {
    let mut list = Vec::new();
    loop {
        if list.len() == limit {
            return Err(WireError::TooMany { what, limit });
        }
        let [next, _] = array(what, rest, 0)?;
        let length = usize::from(u16_at(what, rest, 2)?);
        list.push(rest.get(4..length).ok_or(WireError::Length { what, found: length })?);
        rest = rest.get(length..).unwrap_or(&[]);
        match next {
            0 if rest.is_empty() => return Ok(list),
            0 => return Err(WireError::Length { what, found: rest.len() }),
            next if next == wanted => {}
            next => return Err(WireError::Value { what, found: u32::from(next) }),
        }
    }
}

fn emit_nested(bytes: &mut Vec<u8>, kind: u8, list: Vec<Vec<u8>>) {
    let count = list.len();
    for (index, body) in list.into_iter().enumerate() {
        bytes.extend_from_slice(&[if index + 1 == count { 0 } else { kind }, 0]);
        bytes.extend_from_slice(&u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&body);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute() -> impl Strategy<Value = Attribute> {
        (0u16..0x8000, any::<u32>()).prop_map(|(class, value)| Attribute::number(class, value))
    }

    fn transform() -> impl Strategy<Value = Transform> {
        (any::<u8>(), any::<u8>(), prop::collection::vec(attribute(), 0..8))
            .prop_map(|(number, id, attributes)| Transform { number, id, attributes })
    }

    fn proposal() -> impl Strategy<Value = Proposal> {
        let spi = prop::collection::vec(any::<u8>(), 0..9);
        (any::<u8>(), any::<u8>(), spi, prop::collection::vec(transform(), 1..5))
            .prop_map(|(number, protocol, spi, transforms)| Proposal { number, protocol, spi, transforms })
    }

    proptest! {
        #[test]
        fn emit_then_parse(doi: u32, situation: u32, proposals in prop::collection::vec(proposal(), 1..4)) {
            let sa = SecurityAssociation { doi, situation, proposals };
            prop_assert_eq!(SecurityAssociation::parse(&sa.emit()).unwrap(), sa);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = SecurityAssociation::parse(&bytes);
        }
    }
}
