//! What decodes encodes, and decodes to the same packet again.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_codec::checks::roundtrip(input));
