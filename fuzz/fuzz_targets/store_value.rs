//! Any bytes as a key or value of the store: no panic, and what is read is the same when it is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    moat_store::layout::checks::store_value(input);
});
