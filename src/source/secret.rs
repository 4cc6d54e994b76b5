//! A shared secret, keyed once. It never prints, and reading it back is not possible: what the
//! program needs of a secret is its MAC.

use std::fmt;

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::encoding::Encoding;
use super::secret_text::{SecretError, secret_text};

/// A shorter key can be found by trying: HMAC takes it all the same (RFC 2104, section 3, asks for
/// twice as much).
const GUESSABLE_BELOW_BYTES: usize = 16;

/// A webhook secret: HMAC-SHA256 (RFC 2104, FIPS 198-1) with the key already absorbed.
#[derive(Clone)]
pub struct Secret {
    keyed: Hmac<Sha256>,
    guessable: bool,
}

impl Secret {
    /// Takes the secret's text; white space around it (a file's last newline) does not count.
    ///
    /// # Errors
    /// When nothing is left, or it is damaged.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        Self::read(text.as_bytes(), None)
    }

    /// Takes the secret as it lies in a file: its text is the key, or stands for the key's bytes.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it is not of this encoding.
    pub fn read(bytes: &[u8], encoding: Option<Encoding>) -> Result<Self, SecretError> {
        Ok(match encoding {
            None => Self::from_key(secret_text(bytes)?.as_bytes()),
            Some(encoding) => Self::from_key(&encoding.decode(bytes)?),
        })
    }

    /// Takes the key as it is, white space and all: for a person who looks for a sender's mistake.
    /// What verifies deliveries is made by [`Secret::read`].
    pub(crate) fn from_key(key: &[u8]) -> Self {
        let keyed = Hmac::new_from_slice(key)
            .expect("HMAC takes a key of any length (RFC 2104, section 2)");
        Self {
            keyed,
            guessable: key.len() < GUESSABLE_BELOW_BYTES,
        }
    }

    /// Whether it is so short that somebody could find it by trying.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        self.guessable
    }

    /// The MAC of `parts` in sequence. Its `==` looks at every byte, in constant time: it is the
    /// comparison of [`Mac::verify_slice`], which would make the MAC again for each tag.
    fn mac(&self, parts: &[&[u8]]) -> CtOutput<Hmac<Sha256>> {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize()
    }

    /// Whether one of `tags` is the MAC of `parts`: every tag is compared, in constant time.
    #[must_use]
    pub fn matches(&self, parts: &[&[u8]], tags: &[[u8; 32]]) -> bool {
        let mac = self.mac(parts);
        tags.iter().fold(false, |found, &tag| {
            found | (mac == CtOutput::new(tag.into()))
        })
    }

    /// The MAC of `parts`, for a sender.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).into_bytes().into()
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
            assert_eq!(hex::encode(Secret::from_key(&key).sign(&[&data])), tag);
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
        assert!(secret.matches(&[b"1.{}"], &[[0; 32], right, [1; 32]]));
        assert!(!secret.matches(&[b"1.{}"], &[[0; 32], [1; 32]]));
        assert!(!secret.matches(&[b"1.{}"], &[]));
    }

    #[test]
    fn a_tag_that_differs_in_one_bit_is_another() {
        let secret = Secret::new("whsec_test_secret").expect("not empty");
        let right = secret.sign(&[b"1.", b"{}"]);
        for bit in 0..256 {
            let mut tag = right;
            tag[bit / 8] ^= 1 << (bit % 8);
            assert!(!secret.matches(&[b"1.{}"], &[tag]), "bit {bit}");
        }
    }

    #[test]
    fn a_key_of_any_bytes_is_taken_by_its_encoding() {
        let key = [0, 0x0a, 0x80, 0xff, 0x20].repeat(5);
        let expected = Secret::from_key(&key).sign(&[b"1.{}"]);
        let written = hex::encode(&key);
        let read = Secret::read(written.as_bytes(), Some(Encoding::Hex)).expect("hex");
        assert_eq!(read.sign(&[b"1.{}"]), expected);
        // Without the word, the digits are the key.
        let text = Secret::new(&written).expect("a text");
        assert_ne!(text.sign(&[b"1.{}"]), expected);
        let raw = Secret::read(&key, None);
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
