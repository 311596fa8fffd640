//! One mount: the lines of the input are type, source, destination and options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (fstype, source, destination) = (next(), next(), next());
    let options: Vec<&str> = lines.collect();
    let mount = json!([{ "type": fstype, "source": source, "destination": destination, "options": options }]);
    fuzz::rules::check_bytes(&fuzz::config_with("mounts", mount), None);
});
