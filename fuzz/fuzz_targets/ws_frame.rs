//! Any bytes behind a WebSocket upgrade, in any pieces: no panic, and every promise of the layer holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| moat_websocket::checks::ws_frame(input));
