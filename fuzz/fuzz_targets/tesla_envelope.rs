#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| domicile_fuzz::tesla_envelope(data));
