//! See `procession_fuzz::codec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession_fuzz::codec(bytes));
