//! Any bytes as a mosquitto ACL: no panic, and twice the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_policy::checks::policy_file(
    input,
    moat_policy::PolicyFormat::MosquittoAcl
));
