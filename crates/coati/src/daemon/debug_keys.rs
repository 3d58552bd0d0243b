//! `coati up --debug-keys DIR`: the keys of what is negotiated, in the files in which tshark and Wireshark look for them.
//!
//! Only the command line can switch this on: no file of the configuration and no command to a running daemon does.
//! DIR is a folder of Wireshark's settings, so `WIRESHARK_CONFIG_DIR=DIR tshark -r FILE` shows what is inside.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use coati_crypto::Zeroizing;
use coati_ike::ExposedKey;
use coati_sadb::{AuthAlgorithm, EncAlgorithm, Request, Sa, SaProto, Secret};

/// The open files.
#[derive(Debug)]
pub(super) struct DebugKeys {
    dir: PathBuf,
    ike: File,
    esp: File,
}

impl DebugKeys {
    /// Makes the folder and the files, for the owner's eyes only. A folder that is there already has to be ours alone.
    pub(super) fn begin(dir: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(dir)?;
                if !found.is_dir() || found.mode() & 0o077 != 0 || found.uid() != coati_os::process::user() {
                    return Err(io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        format!(
                            "{}: keys would be there for others to read: name a new folder, or one of your own with \
                             mode 0700",
                            dir.display()
                        ),
                    ));
                }
            }
            // Whatever the umask is.
            other => other.and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o700)))?,
        }
        let open = |name: &str| OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(name));
        let (ike, esp) = (open("ikev1_decryption_table")?, open("esp_sa")?);
        let mut preferences = open("preferences")?;
        if preferences.metadata()?.len() == 0 {
            preferences.write_all(b"esp.enable_encryption_decode: TRUE\n")?;
        }
        Ok(Self { dir: dir.to_owned(), ike, esp })
    }

    /// What the log and `coati status` say all the time.
    pub(super) fn warning(&self) -> String {
        format!(
            "--debug-keys: every key is written to {}: whoever reads it can read all traffic; restart without it, and \
             delete the folder",
            self.dir.display()
        )
    }

    /// Writes the key of an ISAKMP SA.
    pub(super) fn isakmp(&mut self, exposed: &ExposedKey) -> io::Result<()> {
        self.ike.write_all(isakmp_row(exposed).as_bytes())
    }

    /// Writes the keys of an SA that is handed to the data plane.
    pub(super) fn request(&mut self, request: &Request) -> io::Result<()> {
        match request {
            Request::Add(sa) | Request::Update(sa) => match esp_row(sa) {
                Some(row) => self.esp.write_all(row.as_bytes()),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn isakmp_row(exposed: &ExposedKey) -> Zeroizing<String> {
    let cookie = Secret::new(exposed.initiator_cookie.to_vec());
    let mut row = Zeroizing::new(String::with_capacity(128));
    // Bytes stand without quotation marks there, texts with.
    push_hex(&mut row, &cookie);
    row.push(',');
    push_hex(&mut row, &exposed.key);
    row.push('\n');
    row
}

/// The row of an SA that encrypts, when Wireshark knows how.
fn esp_row(sa: &Sa) -> Option<Zeroizing<String>> {
    if sa.id.proto != SaProto::Esp {
        return None;
    }
    let family = match sa.id.destination {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    };
    let cipher = match sa.enc {
        EncAlgorithm::Null => "NULL",
        EncAlgorithm::TripleDesCbc => "TripleDES-CBC [RFC2451]",
        EncAlgorithm::AesCbc => "AES-CBC [RFC3602]",
        EncAlgorithm::AesGcm16 => "AES-GCM with 16 octet ICV [RFC4106]",
        EncAlgorithm::AesCtr => "AES-CTR [RFC3686]",
        // Wireshark has no name for it, and takes no file with an unknown one.
        EncAlgorithm::ChaCha20Poly1305 => return None,
    };
    let auth = match sa.auth {
        AuthAlgorithm::None => "NULL",
        AuthAlgorithm::HmacMd5 => "HMAC-MD5-96 [RFC2403]",
        AuthAlgorithm::AesXcbcMac => "ANY 96 bit authentication [no checking]",
        AuthAlgorithm::HmacSha1 => "HMAC-SHA-1-96 [RFC2404]",
        AuthAlgorithm::HmacSha256 => "HMAC-SHA-256-128 [RFC4868]",
        AuthAlgorithm::HmacSha384 => "HMAC-SHA-384-192 [RFC4868]",
        AuthAlgorithm::HmacSha512 => "HMAC-SHA-512-256 [RFC4868]",
        AuthAlgorithm::HmacSha256Cut96 => "HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]",
    };
    // Through a NAT addresses on the wire may be others than the SA's: the SPI is enough.
    let (source, destination) = if sa.nat_t.is_some() {
        ("*".to_owned(), "*".to_owned())
    } else {
        (sa.id.source.to_string(), sa.id.destination.to_string())
    };
    let mut row = Zeroizing::new(String::with_capacity(512));
    let _ =
        write!(row, "\"{family}\",\"{source}\",\"{destination}\",\"0x{:08x}\",\"{cipher}\",\"", sa.id.spi.0);
    push_key(&mut row, &sa.enc_key);
    let _ = write!(row, "\",\"{auth}\",\"");
    push_key(&mut row, &sa.auth_key);
    row.push_str("\"\n");
    Some(row)
}

fn push_key(row: &mut String, key: &Secret) {
    if !key.is_empty() {
        row.push_str("0x");
    }
    push_hex(row, key);
}

fn push_hex(row: &mut String, bytes: &Secret) {
    for byte in bytes.expose() {
        let _ = write!(row, "{byte:02x}");
    }
}

#[cfg(test)]
#[path = "../../../coati-wire/tests/support/mod.rs"]
mod support;
#[cfg(test)]
mod tests;
