#![no_main]

#[path = "../../tests/bridge/fuzz/callers.rs"]
#[allow(dead_code, reason = "the target of the other program")]
mod callers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| callers::proxy_header(data));
