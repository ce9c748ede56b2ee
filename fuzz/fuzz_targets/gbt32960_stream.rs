#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| domicile_fuzz::gbt32960_stream(data));
