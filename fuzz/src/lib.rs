//! What the targets share.

#[path = "../../runj/tests/rules/mod.rs"]
pub mod rules;

use serde_json::{Value, json};

/// A good configuration, with more in it.
pub fn config_with(name: &str, value: Value) -> Vec<u8> {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "process": { "args": ["/bin/sh"], "cwd": "/" },
        "root": { "path": "root" },
    });
    config[name] = value;
    config.to_string().into_bytes()
}
