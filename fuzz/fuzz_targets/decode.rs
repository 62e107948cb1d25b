//! Any bytes, as one packet and as a stream of packets, in every version: no panic, and no broken promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_codec::checks::decode(input));
