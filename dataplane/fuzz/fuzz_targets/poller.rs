//! See `vpclab_dataplane::io::fuzzing::fuzz_poller`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // What was done does not matter; only a panic is a finding.
    let _ = vpclab_dataplane::io::fuzzing::fuzz_poller(data);
});
