//! Arbitrary frames through the whole pipeline: see `tests/common/hostile.rs`.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Frames out and drops are both answers; only a panic is a finding.
    let _ = common::hostile::fuzz_pipeline(data);
});
