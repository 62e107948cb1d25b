//! Any bytes of two clients, in any pieces, while time passes and connections are lost: no panic, and every bound
//! of their sessions holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_core::checks::session(input));
