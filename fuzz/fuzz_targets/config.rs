//! Any bytes as a configuration: no panic, and twice the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_config::checks::config(input));
