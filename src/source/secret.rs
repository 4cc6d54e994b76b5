//! A shared secret or a public key, read once. It never prints, and reading it back is not possible:
//! what the program needs of a secret is what it makes of a message.

use std::fmt;

use aws_lc_rs::constant_time;
use aws_lc_rs::hmac as legacy;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha512};

use super::encoding::Encoding;
use super::public_key::PublicKey;
use super::scheme::{Hash, KeyForm, Scheme, SecretForm};
use super::secret_text::{SecretError, plain_text, secret_text};

/// A shorter key can be found by trying: HMAC takes it all the same (RFC 2104, section 3, asks for
/// twice as much).
const GUESSABLE_BELOW_BYTES: usize = 16;

/// What a source's deliveries are proven with: an HMAC key (RFC 2104, FIPS 198-1) already absorbed, a
/// public key, or a token.
#[derive(Clone)]
pub struct Secret {
    key: Key,
    guessable: bool,
}

#[derive(Clone)]
enum Key {
    HmacSha256(Hmac<Sha256>),
    HmacSha512(Box<Hmac<Sha512>>),
    HmacSha1(Box<legacy::Key>),
    Public(PublicKey),
    /// Its SHA-256, so that a comparison says nothing of its length.
    Token([u8; 32]),
}

impl Secret {
    /// Takes the text of an HMAC-SHA256 secret; white space around it (a file's last newline) does not
    /// count.
    ///
    /// # Errors
    /// When nothing is left, or it is damaged.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        Self::read(text.as_bytes(), &SecretForm::default(), None)
    }

    /// Takes the secret as it lies in a file, in the form that its provider writes it; `encoding` says
    /// that its bytes are written otherwise there.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it is not of this form.
    pub fn read(
        bytes: &[u8],
        form: &SecretForm,
        encoding: Option<Encoding>,
    ) -> Result<Self, SecretError> {
        let key = key_bytes(bytes, form, encoding)?;
        match form.scheme {
            Scheme::Ed25519 | Scheme::EcdsaP256 => Ok(Self {
                key: Key::Public(PublicKey::parse(&key, form.scheme)?),
                guessable: false,
            }),
            scheme => Ok(Self::from_key(&key, scheme)),
        }
    }

    /// Takes the key as it is, white space and all: for a person who looks for a sender's mistake.
    /// What verifies deliveries is made by [`Secret::read`].
    pub(crate) fn from_key(key: &[u8], scheme: Scheme) -> Self {
        let any_length = "HMAC takes a key of any length (RFC 2104, section 2)";
        let guessable = key.len() < GUESSABLE_BELOW_BYTES;
        let key = match scheme {
            Scheme::Hmac(Hash::Sha1) => {
                let algorithm = legacy::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
                Key::HmacSha1(Box::new(legacy::Key::new(algorithm, key)))
            }
            Scheme::Hmac(Hash::Sha512) => {
                Key::HmacSha512(Box::new(Hmac::new_from_slice(key).expect(any_length)))
            }
            Scheme::Token | Scheme::Url => Key::Token(Sha256::digest(key).into()),
            _ => Key::HmacSha256(Hmac::new_from_slice(key).expect(any_length)),
        };
        Self { key, guessable }
    }

    /// Whether it is so short that somebody could find it by trying.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        self.guessable
    }

    /// Whether one of `signatures` is its own over `parts` in sequence; of a token, whether it is one
    /// of them. Every signature is compared, and in constant time.
    #[must_use]
    pub fn matches(&self, parts: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
        match &self.key {
            Key::Public(key) => {
                let message = parts.concat();
                any(signatures, &|signature| key.verifies(&message, signature))
            }
            Key::Token(expected) => any(signatures, &|token| {
                is_equal(&Sha256::digest(token), expected)
            }),
            Key::HmacSha256(keyed) => has_mac(keyed.clone(), parts, signatures),
            Key::HmacSha512(keyed) => has_mac((**keyed).clone(), parts, signatures),
            Key::HmacSha1(_) => {
                let mac = self.sign(parts);
                any(signatures, &|signature| is_equal(signature, &mac))
            }
        }
    }

    /// The HMAC of `parts` in sequence; nothing where it is no HMAC key.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        match &self.key {
            Key::HmacSha256(keyed) => fed(keyed.clone(), parts).finalize().into_bytes().to_vec(),
            Key::HmacSha512(keyed) => fed((**keyed).clone(), parts)
                .finalize()
                .into_bytes()
                .to_vec(),
            Key::HmacSha1(key) => {
                let mut context = legacy::Context::with_key(key);
                for part in parts {
                    context.update(part);
                }
                context.sign().as_ref().to_vec()
            }
            Key::Public(_) | Key::Token(_) => Vec::new(),
        }
    }
}

/// Whether it holds for any of them; all are looked at.
fn any(signatures: &[Vec<u8>], holds: &dyn Fn(&[u8]) -> bool) -> bool {
    let each = signatures.iter().map(|signature| holds(signature));
    each.fold(false, |found, one| found | one)
}

/// In constant time, for texts of one length.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Whether one of `signatures` is the MAC of `parts`.
fn has_mac<M: Mac>(mac: M, parts: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
    let mac = fed(mac, parts).finalize().into_bytes();
    any(signatures, &|signature| is_equal(signature, &mac))
}

fn fed<M: Mac>(mut mac: M, parts: &[&[u8]]) -> M {
    for part in parts {
        mac.update(part);
    }
    mac
}

/// The bytes of the key that is written there.
fn key_bytes(
    bytes: &[u8],
    form: &SecretForm,
    encoding: Option<Encoding>,
) -> Result<Vec<u8>, SecretError> {
    if let Some(encoding) = encoding {
        return encoding.decode(bytes);
    }
    let without_prefix = |text: &str| {
        let rest = text.strip_prefix(form.prefix.as_str());
        rest.unwrap_or(text).to_owned()
    };
    match form.key {
        KeyForm::Text => Ok(without_prefix(secret_text(bytes)?).into_bytes()),
        KeyForm::Base64 => Encoding::Base64.decode(without_prefix(secret_text(bytes)?).as_bytes()),
        KeyForm::Hex => Encoding::Hex.decode(without_prefix(secret_text(bytes)?).as_bytes()),
        KeyForm::Pem => Ok(plain_text(bytes)?.as_bytes().to_vec()),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HMAC: Scheme = Scheme::Hmac(Hash::Sha256);

    /// RFC 4231, test cases 1 to 4, 6 and 7: key, data, HMAC-SHA-256.
    #[test]
    fn rfc_4231_vectors_hold() {
        let cases: [(Vec<u8>, Vec<u8>, &str); 6] = [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            ((1..=25).collect(), vec![0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (vec![0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (
                vec![0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.".to_vec(),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, tag) in cases {
            assert_eq!(
                hex::encode(Secret::from_key(&key, HMAC).sign(&[&data])),
                tag
            );
        }
    }

    #[test]
    fn the_documented_example_of_another_sender_holds() {
        let secret = Secret::new("It's a Secret to Everybody").expect("not empty");
        let tag = hex::encode(secret.sign(&[b"Hello, World!"]));
        assert_eq!(
            tag,
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn one_right_tag_among_wrong_ones_is_found_and_none_is_not() {
        let secret = Secret::new("whsec_test_secret\n").expect("not empty");
        let right = secret.sign(&[b"1.", b"{}"]);
        assert!(secret.matches(&[b"1.{}"], &[vec![0; 32], right, vec![1; 32]]));
        assert!(!secret.matches(&[b"1.{}"], &[vec![0; 32], vec![1; 32]]));
        assert!(!secret.matches(&[b"1.{}"], &[]));
    }

    #[test]
    fn a_tag_that_differs_in_one_bit_is_another() {
        let secret = Secret::new("whsec_test_secret").expect("not empty");
        let right = secret.sign(&[b"1.", b"{}"]);
        for bit in 0..256 {
            let mut tag = right.clone();
            tag[bit / 8] ^= 1 << (bit % 8);
            assert!(!secret.matches(&[b"1.{}"], &[tag]), "bit {bit}");
        }
    }

    #[test]
    fn a_key_of_any_bytes_is_taken_by_its_encoding() {
        let key = [0, 0x0a, 0x80, 0xff, 0x20].repeat(5);
        let expected = Secret::from_key(&key, HMAC).sign(&[b"1.{}"]);
        let written = hex::encode(&key);
        let read = Secret::read(
            written.as_bytes(),
            &SecretForm::default(),
            Some(Encoding::Hex),
        )
        .expect("hex");
        assert_eq!(read.sign(&[b"1.{}"]), expected);
        // Without the word, the digits are the key.
        let text = Secret::new(&written).expect("a text");
        assert_ne!(text.sign(&[b"1.{}"]), expected);
        let raw = Secret::read(&key, &SecretForm::default(), None);
        assert_eq!(raw.err(), Some(SecretError::NotText));
    }

    #[test]
    fn an_empty_secret_is_refused_and_none_is_ever_printed() {
        assert_eq!(Secret::new(" \n").err(), Some(SecretError::Empty));
        assert_eq!(
            format!("{:?}", Secret::new("hush").expect("not empty")),
            "[redacted]"
        );
    }
}
