#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cocoon_openapi::fuzzing::without_x_conf(input));
