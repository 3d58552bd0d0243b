//! The authentication header (RFC 4302 section 2), and what of the IP header before it is authenticated.
//!
//! ```text
//!  0 next header  1 length in words, less 2  2..4 reserved  4..8 SPI  8..12 sequence number  then ICV and padding
//! ```

use crate::WireError;
use crate::error::{array, u32_at};
use crate::{ipv4, ipv6};

/// Bytes before the integrity check value.
pub const FIXED_LEN: usize = 12;

const WHAT: &str = "AH";
/// As many zeroes as an option may have to stand in for.
const ZEROES: [u8; 255] = [0; 255];

/// The header without its integrity check value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol of what follows.
    pub next_header: u8,
    /// Bytes of all of it, ICV and padding included.
    pub length: usize,
    /// Security parameters index.
    pub spi: u32,
    /// Low 32 bits of the sequence number.
    pub sequence: u32,
}

impl Header {
    /// Reads it, and returns what follows the fixed part: ICV, padding and payload. `length` lies within `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let [next_header, words] = array(WHAT, bytes, 0)?;
        let length = (usize::from(words) + 2) * 4;
        let header =
            Self { next_header, length, spi: u32_at(WHAT, bytes, 4)?, sequence: u32_at(WHAT, bytes, 8)? };
        if length < FIXED_LEN || length > bytes.len() {
            return Err(WireError::Length { what: "AH length", found: length });
        }
        Ok((header, bytes.get(FIXED_LEN..).unwrap_or(&[])))
    }

    /// The bytes of the fixed part.
    pub fn emit(&self) -> [u8; FIXED_LEN] {
        let mut bytes = [0; FIXED_LEN];
        bytes[0] = self.next_header;
        bytes[1] = u8::try_from((self.length / 4).saturating_sub(2)).unwrap_or(u8::MAX);
        bytes[4..8].copy_from_slice(&self.spi.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}

/// Bytes of the whole header with an ICV of `icv_len`: whole words, and behind IPv6 whole double words (section 2.6).
pub fn length(icv_len: usize, is_v6: bool) -> usize {
    (FIXED_LEN + icv_len).next_multiple_of(if is_v6 { 8 } else { 4 })
}

/// Hands the IP header of these bytes, with options or extension headers, to `cover`, piece by piece, and zeroes where
/// routers may change it on its way (section 3.3.3.1).
pub fn cover_ip_header(header: &[u8], cover: impl FnMut(&[u8])) -> Result<(), WireError> {
    match header.first().map(|first| first >> 4) {
        Some(6) => cover_v6(header, cover),
        _ => cover_v4(header, cover),
    }
}

fn cover_v4(header: &[u8], mut cover: impl FnMut(&[u8])) -> Result<(), WireError> {
    let mut fixed: [u8; ipv4::HEADER_LEN] = array("IPv4 header", header, 0)?;
    // Type of service, flags and offset, time to live, checksum.
    for at in [1, 6, 7, 8, 10, 11] {
        fixed[at] = 0;
    }
    let options = header.get(ipv4::HEADER_LEN..).unwrap_or(&[]);
    if let Some(last) = final_destination(options)? {
        fixed[16..].copy_from_slice(&last);
    }
    cover(&fixed);
    let mut rest = options;
    while let Some((option, behind)) = next_v4_option(rest)? {
        match option {
            // No operation, and those that do not change (appendix A1).
            [1 | 130 | 133 | 134 | 148 | 149, ..] => cover(option),
            _ => cover(&ZEROES[..option.len().min(ZEROES.len())]),
        }
        rest = behind;
    }
    // The end of the list, and padding.
    cover(rest);
    Ok(())
}

type OptionAndRest<'a> = (&'a [u8], &'a [u8]);

/// The next option and what follows it; `None` at the end of the list.
fn next_v4_option(options: &[u8]) -> Result<Option<OptionAndRest<'_>>, WireError> {
    let length = match options {
        [] | [0, ..] => return Ok(None),
        [1, ..] => 1,
        [_, length, ..] if *length >= 2 => usize::from(*length),
        _ => return Err(WireError::Length { what: "IPv4 option", found: 0 }),
    };
    let wrong = WireError::Length { what: "IPv4 option", found: length };
    options.split_at_checked(length).map(Some).ok_or(wrong)
}

/// Where a source route that is not at its end will have led (appendix A1: predictable).
fn final_destination(mut options: &[u8]) -> Result<Option<[u8; 4]>, WireError> {
    while let Some((option, rest)) = next_v4_option(options)? {
        if let [131 | 137, length, pointer, ..] = option
            && pointer <= length
            && length >= &7
        {
            return Ok(option.last_chunk().copied());
        }
        options = rest;
    }
    Ok(None)
}

fn cover_v6(header: &[u8], mut cover: impl FnMut(&[u8])) -> Result<(), WireError> {
    let mut fixed: [u8; ipv6::HEADER_LEN] = array("IPv6 header", header, 0)?;
    let mut next = fixed[6];
    // Traffic class and flow label, hop limit.
    fixed[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    fixed[7] = 0;
    cover(&fixed);
    let mut rest = header.get(ipv6::HEADER_LEN..).unwrap_or(&[]);
    while !rest.is_empty() {
        let [following, units] = array("IPv6 extension header", rest, 0)?;
        let length = (usize::from(units) + 1) * 8;
        let wrong = WireError::Length { what: "IPv6 extension header", found: length };
        let (extension, behind) = rest.split_at_checked(length).ok_or(wrong)?;
        match (next, extension) {
            (0 | 60, _) => cover_v6_options(extension, &mut cover)?,
            // A source route that is not at its end: nobody follows one (RFC 5095).
            (_, [_, _, _, left, ..]) if *left != 0 => {
                return Err(WireError::Value { what: "segments left before AH", found: u32::from(*left) });
            }
            _ => cover(extension),
        }
        (next, rest) = (following, behind);
    }
    Ok(())
}

/// Options whose type says so may change on the way: their data counts as zeroes.
fn cover_v6_options(extension: &[u8], cover: &mut impl FnMut(&[u8])) -> Result<(), WireError> {
    const MAY_CHANGE: u8 = 0x20;
    let (head, mut options) = extension.split_at_checked(2).unwrap_or((extension, &[]));
    cover(head);
    while let [kind, rest @ ..] = options {
        // One byte of padding is the only option without a length.
        let data_len = if *kind == 0 { None } else { rest.first() };
        let length = match data_len {
            None => 1,
            Some(data_len) => 2 + usize::from(*data_len),
        };
        let wrong = WireError::Length { what: "IPv6 option", found: length };
        let (option, behind) = options.split_at_checked(length).ok_or(wrong)?;
        if kind & MAY_CHANGE != 0 && length > 2 {
            let (before, data) = option.split_at(2);
            cover(before);
            cover(&ZEROES[..data.len().min(ZEROES.len())]);
        } else {
            cover(option);
        }
        options = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covered(header: &[u8]) -> Result<Vec<u8>, WireError> {
        let mut all = Vec::new();
        cover_ip_header(header, |piece| all.extend_from_slice(piece))?;
        Ok(all)
    }

    #[test]
    fn what_counts_of_an_ipv4_header() {
        let header = [
            &[0x4b, 0x12, 0, 60, 0x11, 0x22, 0x40, 0, 63, 51, 0xab, 0xcd, 192, 0, 2, 1, 192, 0, 2, 2][..],
            // Router alert stays, a recorded route does not; then a NOP and the end.
            &[148, 4, 0, 0],
            &[7, 7, 8, 10, 9, 9, 9],
            &[1],
            &[0, 5, 6, 7, 0, 0, 0, 0],
            &[0, 0, 0, 0],
        ]
        .concat();
        let mut wanted = header.clone();
        for at in [1, 6, 7, 8, 10, 11] {
            wanted[at] = 0;
        }
        wanted[24..31].fill(0);
        assert_eq!(covered(&header).unwrap(), wanted);
        // A loose source route that has led nowhere yet: its end is what the receiver will see.
        let mut routed = header.clone();
        routed[20..31].copy_from_slice(&[131, 11, 4, 198, 51, 100, 1, 198, 51, 100, 2]);
        let mut arrived = routed.clone();
        arrived[16..20].copy_from_slice(&[198, 51, 100, 2]);
        arrived[22] = 12;
        assert_eq!(covered(&routed).unwrap(), covered(&arrived).unwrap());
        assert_eq!(covered(&routed).unwrap()[16..31], [198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut broken = header.clone();
        broken[21] = 0;
        assert!(covered(&broken).is_err());
    }

    #[test]
    fn what_counts_of_an_ipv6_header() {
        let base = ipv6::Repr {
            traffic_class: 0x2e,
            flow_label: 0x12345,
            next_header: 0,
            hop_limit: 60,
            source: 1.into(),
            destination: 2.into(),
            payload_len: 100,
        };
        let options = [43, 0, 0x3e, 2, 0xaa, 0xbb, 0x05, 0];
        let routing = [51, 2, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];
        let header = [&base.emit()[..], &options, &routing].concat();
        let mut wanted = header.clone();
        wanted[..4].copy_from_slice(&[0x60, 0, 0, 0]);
        wanted[7] = 0;
        wanted[44..46].fill(0);
        assert_eq!(covered(&header).unwrap(), wanted);
        let mut on_its_way = header.clone();
        on_its_way[51] = 1;
        assert!(covered(&on_its_way).is_err());
    }

    proptest! {
        #[test]
        fn emit_then_parse(next_header: u8, words in 1u8..16, spi: u32, sequence: u32) {
            let header = Header { next_header, length: (usize::from(words) + 2) * 4, spi, sequence };
            let mut bytes = header.emit().to_vec();
            prop_assert!(Header::parse(&bytes).is_err() == (header.length > FIXED_LEN));
            bytes.resize(header.length, 7);
            prop_assert_eq!(Header::parse(&bytes).unwrap(), (header, &bytes[FIXED_LEN..]));
        }

        /// Whatever comes: no panic, and as many bytes are covered as there are.
        #[test]
        fn any_bytes(v6: bool, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            if let Ok(all) = covered(&bytes) {
                prop_assert_eq!(all.len(), bytes.len());
            }
        }
    }
}
