//! The bytes of config.json.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::rules::check_bytes(bytes, None);
});
