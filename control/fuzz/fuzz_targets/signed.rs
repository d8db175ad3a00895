//! See `vpclab::aws::fuzzing::signed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    vpclab::aws::fuzzing::signed(data);
});
