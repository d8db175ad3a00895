//! See `vpclab_dataplane::io::fuzzing::fuzz_vnet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Being dropped is an answer; only a panic is a finding.
    let _ = vpclab_dataplane::io::fuzzing::fuzz_vnet(data);
});
