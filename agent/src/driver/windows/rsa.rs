//! RSA public keys: from the two forms in which Windows exports them to the two in which certificates hold them.

/// The largest key that is read, in bytes of its modulus.
const MOST: usize = 16 * 1024 / 8;

/// "RSA1" in little-endian: a public key, for CryptoAPI and CNG alike.
const MAGIC: u32 = 0x3141_5352;

/// The object identifier rsaEncryption with its empty parameters, in DER.
const RSA_ENCRYPTION: [u8; 15] = [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The PKCS#1 `RSAPublicKey` of a `PUBLICKEYBLOB` of CryptoAPI; `None` when it is no RSA key. Its numbers are little-endian.
pub(super) fn of_csp(blob: &[u8]) -> Option<Vec<u8>> {
    // Kind, version, reserved, algorithm; then magic, bits, exponent; then the modulus.
    let [6, _, _, _, _, _, _, _, fields @ ..] = blob else { return None };
    let (magic, fields) = number(fields)?;
    let (bits, fields) = number(fields)?;
    let (exponent, modulus) = number(fields)?;
    let len = usize::try_from(bits).ok()?.div_ceil(8);
    let mut modulus = modulus.get(..len).filter(|_| magic == MAGIC)?.to_vec();
    modulus.reverse();
    pkcs1(&modulus, &exponent.to_be_bytes())
}

/// The PKCS#1 `RSAPublicKey` of a `BCRYPT_RSAPUBLIC_BLOB` of CNG; `None` when it is none. Its numbers are big-endian.
pub(super) fn of_cng(blob: &[u8]) -> Option<Vec<u8>> {
    // Magic, bits, then the lengths of exponent, modulus and two primes, which a public key lacks.
    let (magic, fields) = number(blob)?;
    let (_, fields) = number(fields)?;
    let (exponent_len, fields) = number(fields)?;
    let (modulus_len, fields) = number(fields)?;
    let (exponent, modulus) = fields.get(8..)?.split_at_checked(usize::try_from(exponent_len).ok()?)?;
    let modulus = modulus.get(..usize::try_from(modulus_len).ok()?).filter(|_| magic == MAGIC)?;
    pkcs1(modulus, exponent)
}

/// The SubjectPublicKeyInfo of a PKCS#1 `RSAPublicKey`.
pub(super) fn spki(pkcs1: &[u8]) -> Vec<u8> {
    let bits = element(0x03, &[&[0], pkcs1].concat());
    element(0x30, &[RSA_ENCRYPTION.as_slice(), &bits].concat())
}

fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    Some(element(0x30, &[integer(modulus)?, integer(exponent)?].concat()))
}

/// A positive number; `None` when it is zero or too large for a key.
fn integer(big_endian: &[u8]) -> Option<Vec<u8>> {
    let start = big_endian.iter().position(|byte| *byte != 0)?;
    let digits = big_endian.get(start..).filter(|digits| digits.len() <= MOST)?;
    let sign: &[u8] = if digits.first()? & 0x80 == 0 { &[] } else { &[0] };
    Some(element(0x02, &[sign, digits].concat()))
}

/// Tag, length and content in DER. A key has less than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let length: &[u8] = match content.len() {
        0..0x80 => &[low],
        0x80..0x100 => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, content].concat()
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::RSAPublicKey;

    use super::*;

    /// Modulus and exponent of a public key that somebody else wrote.
    fn numbers(pkcs1: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (_, key) = RSAPublicKey::from_der(pkcs1).unwrap();
        (key.modulus.iter().copied().skip_while(|byte| *byte == 0).collect(), key.exponent.to_vec())
    }

    fn csp(modulus: &[u8], exponent: u32) -> Vec<u8> {
        let mut blob = vec![6, 2, 0, 0, 0, 0xA4, 0, 0];
        let bits = u32::try_from(modulus.len() * 8).unwrap();
        blob.extend([MAGIC, bits, exponent].into_iter().flat_map(u32::to_le_bytes));
        blob.extend(modulus.iter().rev());
        blob
    }

    fn cng(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).unwrap();
        let head = [MAGIC, len(modulus) * 8, len(exponent), len(modulus), 0, 0];
        [head.into_iter().flat_map(u32::to_le_bytes).collect(), exponent.to_vec(), modulus.to_vec()].concat()
    }

    #[test]
    fn both_exports_of_a_key_become_what_others_write_for_it() {
        for size in [RsaKeySize::_2048, RsaKeySize::_3072, RsaKeySize::_4096] {
            let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).unwrap();
            let (modulus, exponent) = numbers(pair.der_bytes());
            assert_eq!(exponent, [1, 0, 1]);
            assert_eq!(of_csp(&csp(&modulus, 65537)).as_deref(), Some(pair.der_bytes()));
            assert_eq!(of_cng(&cng(&modulus, &exponent)).as_deref(), Some(pair.der_bytes()));
            assert_eq!(spki(pair.der_bytes()), pair.subject_public_key_info());
        }
    }

    #[test]
    fn other_keys_and_bytes_that_are_cut_off_are_none() {
        let modulus = [0xC3; 256];
        let (csp, cng) = (csp(&modulus, 65537), cng(&modulus, &[1, 0, 1]));
        assert!(of_csp(&csp).is_some() && of_cng(&cng).is_some());
        for cut in 0..csp.len() {
            assert_eq!(of_csp(&csp[..cut]), None);
        }
        for cut in 0..cng.len() {
            assert_eq!(of_cng(&cng[..cut]), None);
        }
        // DSS1, and a private key.
        for (place, byte) in [(8, b'D'), (0, 7)] {
            let mut other = csp.clone();
            other[place] = byte;
            assert_eq!(of_csp(&other), None);
        }
        assert_eq!(of_cng(b"ECS1"), None);
    }

    proptest! {
        #[test]
        fn whatever_bytes_are_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..64), magic in any::<bool>()) {
            let mut bytes = bytes;
            if magic && bytes.len() > 12 {
                bytes[0] = 6;
                bytes[8..12].copy_from_slice(&MAGIC.to_le_bytes());
            }
            let _ = of_csp(&bytes);
            let _ = of_cng(&bytes);
        }
    }
}
