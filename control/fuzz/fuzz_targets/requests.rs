//! See `vpclab::aws::fuzzing::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    vpclab::aws::fuzzing::requests(data);
});
