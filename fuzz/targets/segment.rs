//! See `procession_fuzz::segment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession_fuzz::segment(bytes));
