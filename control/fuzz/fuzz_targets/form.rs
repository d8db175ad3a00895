//! See `vpclab::aws::fuzzing::form`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Being refused is an answer; only a panic is a finding.
    let _ = vpclab::aws::fuzzing::form(data);
});
