//! A certificate as Windows serializes it, alone and among other bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::certificate::MAX_DER;
use recorded::serialized::Serialized;

fuzz_target!(|bytes: &[u8]| {
    for read in [Serialized::read(bytes), Serialized::find(bytes)].into_iter().flatten() {
        assert!(read.der.len() <= MAX_DER.min(bytes.len()));
    }
});
