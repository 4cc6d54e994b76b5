#![no_main]

#[path = "../../tests/bridge/fuzz/reference.rs"]
mod reference;
#[path = "../../tests/bridge/fuzz/targets.rs"]
#[allow(dead_code, reason = "the targets of the other programs")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::record(data));
