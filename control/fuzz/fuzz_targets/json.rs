//! See `vpclab::aws::fuzzing::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = vpclab::aws::fuzzing::json(data);
});
