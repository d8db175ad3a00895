//! See `vpclab_dataplane::packet::fuzzing::fuzz_checksum`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Being too short is an answer; only a panic is a finding.
    let _ = vpclab_dataplane::packet::fuzzing::fuzz_checksum(data);
});
