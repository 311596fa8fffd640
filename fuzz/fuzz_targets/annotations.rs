//! Annotations: each line of the input is one, `org.freebsd.` left out of its name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|text: &str| {
    let mut annotations = Map::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        annotations.insert(format!("org.freebsd.{name}"), Value::from(value));
    }
    fuzz::rules::check_bytes(&fuzz::config_with("annotations", Value::Object(annotations)), None);
});
