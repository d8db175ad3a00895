//! See `vpclab_dataplane::lpm::fuzzing::fuzz_arena`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // What was done does not matter; only a panic is a finding.
    let _ = vpclab_dataplane::lpm::fuzzing::fuzz_arena(data);
});
