//! See `vpclab_dataplane::lpm::fuzzing::fuzz_lpm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Which structure it was does not matter; only a panic is a finding.
    let _ = vpclab_dataplane::lpm::fuzzing::fuzz_lpm(data);
});
