//! A certificate in DER.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::certificate::Certificate;

fuzz_target!(|bytes: &[u8]| {
    let Ok(certificate) = Certificate::from_der(bytes) else { return };
    assert_eq!(certificate.der(), bytes);
    let shown = [certificate.subject(), certificate.issuer(), certificate.serial(), certificate.signature()];
    assert!(shown.iter().map(|text| text.len()).sum::<usize>() < 16 * bytes.len() + 100, "what is shown comes from its bytes");
    for name in certificate.names().iter().take(8) {
        assert!(certificate.covers(name));
        let _ = certificate.covers(&format!("x{name}"));
    }
    let _ = (certificate.not_before() < certificate.not_after(), certificate.key(), certificate.signed_with_sha1());
});
