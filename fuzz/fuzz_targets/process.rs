//! The bytes of the file of `exec --process`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::rules::check_process(bytes));
