//! The bytes of runj.ext.json, beside configurations that say something of the network and nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    for jail in [json!({}), json!({ "jail": { "vnet": "new", "vnetInterfaces": ["epair0b"] } })] {
        fuzz::rules::check_bytes(&fuzz::config_with("freebsd", jail), Some(bytes));
    }
});
