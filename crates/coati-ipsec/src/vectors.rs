//! ESP packets that others have published, made and opened here.

use coati_crypto::RandomSource;
use coati_sadb::{
    AuthAlgorithm, EncAlgorithm, Lifetime, Mode, ReqId, Sa, SaId, SaProto, SaState, Secret, Spi, Usage,
};

use crate::counters::Drop;
use crate::esp::LazyTransform;
use crate::packet::Packet;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What is published as the IV.
struct Published(Vec<u8>);

impl RandomSource for Published {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

struct Vector {
    enc: EncAlgorithm,
    key: Vec<u8>,
    spi: u32,
    sequence: u64,
    esn: bool,
    iv: Vec<u8>,
    next_header: u8,
    clear: Vec<u8>,
    /// Behind SPI, sequence number and IV; without an ICV that is ours.
    sealed: Vec<u8>,
}

fn keys(vector: &Vector) -> LazyTransform {
    let auth = if vector.enc.is_aead() { AuthAlgorithm::None } else { AuthAlgorithm::HmacSha256 };
    let address = "192.0.2.1".parse().unwrap();
    let sa = Sa {
        id: SaId { source: address, destination: address, proto: SaProto::Esp, spi: Spi(vector.spi) },
        mode: Mode::Transport,
        reqid: ReqId(0),
        enc: vector.enc,
        enc_key: Secret::new(vector.key.clone()),
        auth,
        auth_key: Secret::new(vec![7; auth.key_len()]),
        replay_window: 64,
        esn: vector.esn,
        nat_t: None,
        soft: Lifetime::default(),
        hard: Lifetime::default(),
        state: SaState::Mature,
        usage: Usage::default(),
        sequence: 0,
        offload: None,
    };
    sa.check().unwrap();
    LazyTransform::new(&sa).unwrap()
}

/// Seals and opens it behind an IP header of 20 bytes, of which ESP knows the length only.
fn check(vector: &Vector) {
    let keys = keys(vector);
    let keys = keys.get().unwrap();
    // Counter modes take the IV by the sequence number and what is random.
    let random = match <[u8; 8]>::try_from(vector.iv.as_slice()) {
        Ok(iv) => (u64::from_be_bytes(iv) ^ vector.sequence).to_be_bytes().to_vec(),
        Err(_) => vector.iv.clone(),
    };
    let header = [0x45; 20];
    let clear = [&header[..], &vector.clear].concat();
    let mut packet = Packet::new(&clear);
    let (spi, sequence) = (vector.spi, vector.sequence);
    keys.seal(&mut packet, 20, vector.next_header, spi, sequence, &mut Published(random)).unwrap();
    let low = (sequence & 0xffff_ffff) as u32;
    let wanted = [&header[..], &spi.to_be_bytes(), &low.to_be_bytes(), &vector.iv, &vector.sealed].concat();
    assert_eq!(packet.bytes()[..wanted.len()], wanted, "{:?}", vector.enc);
    let sealed = packet.clone();
    assert_eq!(keys.open(&mut packet, 20, sequence), Ok(vector.next_header));
    assert_eq!(packet.bytes(), clear);
    let mut other_half = sealed.clone();
    let opened = keys.open(&mut other_half, 20, sequence + (1 << 32));
    assert_eq!(opened.is_ok(), !vector.esn, "the half that is not sent is authenticated");
    for at in [20, 30, wanted.len() - 1] {
        let mut forged = sealed.clone();
        forged.bytes_mut()[at] ^= 1;
        assert_eq!(keys.open(&mut forged, 20, sequence), Err(Drop::Forged), "{:?} {at}", vector.enc);
    }
}

/// RFC 3602 section 4, case 5, a ping in transport mode.
#[test]
fn aes_cbc() {
    check(&Vector {
        enc: EncAlgorithm::AesCbc,
        key: bytes("90d382b410eeba7ad938c46cec1a82bf"),
        spi: 0x4321,
        sequence: 1,
        esn: false,
        iv: bytes("e96e8c08ab465763fd098d45dd3ff893"),
        next_header: 1,
        clear: bytes(
            "08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223 \
             24252627 28292a2b 2c2d2e2f 30313233 34353637",
        ),
        sealed: bytes(
            "f663c25d 325c18c6 a9453e19 4e120849 a4870b66 cc6b9965 330013b4 898dc856 a4699e52 3a55db08 0b59ec3a \
             8e4b7e52 775b07d1 db34ed9c 538ab50c 551b874a a269add0 47ad2d59 13ac19b7 cfbad4a6",
        ),
    });
}

/// RFC 7634 appendix A.
#[test]
fn chacha20_poly1305() {
    check(&Vector {
        enc: EncAlgorithm::ChaCha20Poly1305,
        key: (0x80..=0xa3).collect(),
        spi: 0x0102_0304,
        sequence: 5,
        esn: false,
        iv: bytes("1011121314151617"),
        next_header: 4,
        clear: bytes(
            "45000054 a6f20000 4001e778 c6336405 c0000205 08005b7a 3a080000 553bec10 00073627 08090a0b 0c0d0e0f \
             10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637",
        ),
        sealed: bytes(
            "24039428 b97f417e 3c13753a 4f05087b 67c352e6 a7fab1b9 82d466ef 407ae5c6 14ee8099 d52844eb 61aa95df \
             ab4c02f7 2aa71e7c 4c4f64c9 befe2fac c638e8f3 cbec163f ac469b50 2773f6fb 94e664da 9165b828 29f641e0 \
             76aaa826 6b7fb0f7 b11b3699 07e1ad43",
        ),
    });
}

/// D. McGrew's test cases for GCM in ESP, which the Linux kernel has too: a DNS question, with an extended sequence number.
#[test]
fn aes_gcm() {
    check(&Vector {
        enc: EncAlgorithm::AesGcm16,
        key: bytes("4c80cdefbb5d10da906ac73c3613a634 2e443b68"),
        spi: 0x4321,
        sequence: 0x8765_4321_0000_0000,
        esn: true,
        iv: bytes("4956ed7e3b244cfe"),
        next_header: 1,
        clear: bytes(
            "45000048 699a0000 80114db7 c0a80102 c0a80101 0a9bf156 38d30100 00010000 00000000 045f7369 70045f75 \
             64700373 69700963 79626572 63697479 02646b00 00210001",
        ),
        sealed: bytes(
            "fecf537e 729d5b07 dc30df52 8dd22b76 8d1b9873 6696a6fd 348509fa 13ceac34 cfa2436f 14a3f3cf 65925bf1 \
             f4a13c5d 15b21e18 84f5ff62 47aeabb7 86b93bce 61bc17d7 68fd9732 45901814 8f6cbe72 2fd04796 562dfdb4",
        ),
    });
}
