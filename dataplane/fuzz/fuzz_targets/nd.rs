//! See `vpclab_dataplane::packet::fuzzing::fuzz_nd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Being dropped is an answer; only a panic is a finding.
    let _ = vpclab_dataplane::packet::fuzzing::fuzz_nd(data);
});
