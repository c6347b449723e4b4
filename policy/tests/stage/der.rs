//! Certificates without cryptography: the same words give the same bytes, so that golden texts can name thumbprints and a
//! property can make thousands. Nobody verifies the signature of a self-signed certificate, and the mind verifies none.

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::id::Sha256;

/// What a certificate is made from.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// Names; the first is the subject's common name.
    pub(crate) names: Vec<String>,
    /// The issuer's common name; self-issued without one.
    pub(crate) issuer: Option<String>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// Signed with SHA-1, as Exchange Setup does it.
    pub(crate) sha1: bool,
    /// The key: one word, one key.
    pub(crate) key: String,
    /// Its key usage has digitalSignature, which IIS Manager leaves out.
    pub(crate) signs: bool,
}

impl Recipe {
    pub(crate) fn bake(&self) -> Certificate {
        Certificate::from_der(&self.der()).expect("the oven makes certificates that read")
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let subject = self.names.first().map_or("nameless", String::as_str);

        let last = if self.sha1 { 5 } else { 11 };
        let algorithm = sequence(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]), tlv(0x05, &[])]);
        let rsa = sequence(&[oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]), tlv(0x05, &[])]);
        let modulus: Vec<u8> = (0_u8..8).flat_map(|part| Sha256::of(format!("{}{part}", self.key).as_bytes()).0).collect();
        let modulus = [&[0, 0x80 | modulus[0]], &modulus[1..]].concat();
        let key = sequence(&[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])]);
        // What is usual is left out of the serial, so that a new way to be unusual changes no other certificate.
        let serial = Sha256::of(format!("{self:?}").replace(", signs: true", "").as_bytes()).0;
        let tbs = sequence(&[
            tlv(0xa0, &tlv(0x02, &[2])),
            tlv(0x02, &[&[0x40], &serial[..15]].concat()),
            algorithm.clone(),
            name(self.issuer.as_deref().unwrap_or(subject)),
            sequence(&[time(self.from), time(self.to)]),
            name(subject),
            sequence(&[rsa, bits(&key)]),
            tlv(0xa3, &sequence(&self.extensions())),
        ]);
        sequence(&[tbs, algorithm, bits(&[0x5a; 256])])
    }

    fn extensions(&self) -> Vec<Vec<u8>> {
        let names: Vec<Vec<u8>> = self.names.iter().map(|name| tlv(0x82, name.as_bytes())).collect();
        // digitalSignature and keyEncipherment, as Setup makes them; keyEncipherment and dataEncipherment, as IIS Manager does.
        let usage: &[u8] = if self.signs { &[5, 0xa0] } else { &[4, 0x30] };
        let server_auth = oid(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01]);
        vec![
            sequence(&[oid(&[0x55, 0x1d, 0x0f]), tlv(0x01, &[0xff]), tlv(0x04, &tlv(0x03, usage))]),
            sequence(&[oid(&[0x55, 0x1d, 0x11]), tlv(0x04, &sequence(&names))]),
            sequence(&[oid(&[0x55, 0x1d, 0x25]), tlv(0x04, &sequence(&[server_auth]))]),
        ]
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let length = match length {
        0..=0x7f => vec![u8::try_from(length).expect("below 128")],
        0x80..=0xff => vec![0x81, u8::try_from(length).expect("below 256")],
        _ => [&[0x82][..], &u16::try_from(length).expect("below 64 KiB").to_be_bytes()].concat(),
    };
    [&[tag][..], &length, content].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn oid(encoded: &[u8]) -> Vec<u8> {
    tlv(0x06, encoded)
}

fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[oid(&[0x55, 0x04, 0x03]), tlv(0x0c, common_name.as_bytes())]);
    sequence(&[tlv(0x31, &attribute)])
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280).
fn time(at: Timestamp) -> Vec<u8> {
    if at < super::at("2050-01-01T00:00:00Z") {
        tlv(0x17, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}
