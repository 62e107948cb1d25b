//! Any bytes as a users file: no panic, and twice the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_auth::file::checks::password_file(input));
