#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz_targets::bundles(data));
