//! See `procession_fuzz::frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession_fuzz::frame(bytes));
