//! A new secret, token or key pair, written as its provider writes them: for the demo and for tests.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;

use super::encoding::STANDARD;
use super::scheme::{KeyForm, Scheme, SecretForm};

/// Characters in a line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;

/// A key that nobody has had before. Both halves are text, as a file would hold it.
#[derive(Clone)]
pub struct GeneratedKey {
    /// What the bridge is given to verify with: the secret, the token or the public key.
    pub verifying: String,
    /// What the sender signs with: the same, or the private key as PKCS #8 in PEM.
    pub signing: String,
}

impl GeneratedKey {
    /// Makes one of this form.
    #[must_use]
    pub fn new(form: &SecretForm) -> Self {
        match form.scheme {
            Scheme::Ed25519 => ed25519(form),
            Scheme::EcdsaP256 => ecdsa_p256(form),
            Scheme::Hmac(_) | Scheme::Token | Scheme::Url => shared(form),
        }
    }
}

/// 32 random bytes: Standard Webhooks asks for 24 to 64, RFC 2104 for as many as the hash has.
fn shared(form: &SecretForm) -> GeneratedKey {
    let text = written(&rand::random::<[u8; 32]>(), form);
    GeneratedKey {
        verifying: text.clone(),
        signing: text,
    }
}

fn ed25519(form: &SecretForm) -> GeneratedKey {
    let works = "the system has random numbers";
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect(works);
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document.as_ref());
    let pair = pair.expect("it was written here");
    let public = pair.public_key();
    let verifying = match form.key {
        KeyForm::Pem => {
            let der = public.as_der().expect("a public key has this form");
            pem("PUBLIC KEY", der.as_ref())
        }
        _ => written(public.as_ref(), form),
    };
    GeneratedKey {
        verifying,
        signing: pem("PRIVATE KEY", document.as_ref()),
    }
}

fn ecdsa_p256(form: &SecretForm) -> GeneratedKey {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
    let document = document.expect("the system has random numbers");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref());
    let pair = pair.expect("it was written here");
    let der = pair.public_key().as_der();
    let der = der.expect("a public key has this form");
    let verifying = match form.key {
        KeyForm::Pem => pem("PUBLIC KEY", der.as_ref()),
        _ => written(der.as_ref(), form),
    };
    GeneratedKey {
        verifying,
        signing: pem("PRIVATE KEY", document.as_ref()),
    }
}

/// A text that stands for these bytes in this form; hex, where the text itself is the key.
fn written(bytes: &[u8], form: &SecretForm) -> String {
    let text = match form.key {
        KeyForm::Base64 => STANDARD.encode(bytes),
        KeyForm::Text | KeyForm::Hex | KeyForm::Pem => hex::encode(bytes),
    };
    format!("{}{text}", form.prefix)
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, letter) in base64.chars().enumerate() {
        if at > 0 && at % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + &format!("\n-----END {label}-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Hash, Secret, SigningKey};

    #[test]
    fn what_is_made_in_each_form_is_read_in_it() {
        let hmac = Scheme::Hmac(Hash::Sha256);
        for (scheme, key, prefix) in [
            (hmac, KeyForm::Text, ""),
            (hmac, KeyForm::Base64, "whsec_"),
            (hmac, KeyForm::Hex, ""),
            (Scheme::Token, KeyForm::Text, ""),
            (Scheme::Url, KeyForm::Text, ""),
            (Scheme::Ed25519, KeyForm::Base64, "whpk_"),
            (Scheme::Ed25519, KeyForm::Hex, ""),
            (Scheme::Ed25519, KeyForm::Pem, ""),
            (Scheme::EcdsaP256, KeyForm::Base64, ""),
            (Scheme::EcdsaP256, KeyForm::Pem, ""),
        ] {
            let form = SecretForm {
                scheme,
                key,
                prefix: prefix.to_owned(),
            };
            let made = GeneratedKey::new(&form);
            let verifying = Secret::read(made.verifying.as_bytes(), &form, None);
            assert!(verifying.is_ok(), "{form:?}: {verifying:?}");
            let signing = SigningKey::read(made.signing.as_bytes(), &form, None);
            assert!(signing.is_ok(), "{form:?}: {:?}", signing.err());
            let other = GeneratedKey::new(&form);
            assert_ne!(made.verifying, other.verifying, "{form:?}");
            assert_ne!(made.signing, other.signing, "{form:?}");
        }
    }
}
