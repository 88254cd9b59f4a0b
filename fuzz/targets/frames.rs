#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cocoon_sealing::fuzzing::frames(input));
