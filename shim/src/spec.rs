//! What a `config.json` of containerd leaves unsaid. Pure.
//!
//! containerd writes no `freebsd` object; it says by a `linux.namespaces` without `network` that a container shares the
//! host's network. runj takes a bundle at its word, so the shim writes down what is meant.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The configuration with its network made explicit, if it has to be changed.
pub fn explicit(config: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut config: Value =
        serde_json::from_slice(config).map_err(|error| Error::invalid(format!("config.json: {error}")))?;
    if !shares_network(&config) || says_network(&config) {
        return Ok(None);
    }
    let mut object = &mut config;
    for name in ["freebsd", "jail"] {
        let Some(members) = object.as_object_mut() else {
            return Err(Error::invalid("config.json: freebsd.jail: is not an object"));
        };
        object = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
    }
    for stack in ["ip4", "ip6"] {
        match object.as_object_mut() {
            Some(jail) => drop(jail.insert(stack.to_owned(), json!("inherit"))),
            None => return Err(Error::invalid("config.json: freebsd.jail: is not an object")),
        }
    }
    serde_json::to_vec(&config).map(Some).map_err(|error| Error::unknown(format!("config.json: {error}")))
}

/// Whether the namespaces are listed and none of them is a network.
fn shares_network(config: &Value) -> bool {
    let namespaces = config["linux"]["namespaces"].as_array();
    namespaces.is_some_and(|list| list.iter().all(|entry| entry["type"] != "network"))
}

/// Whether the network is spoken of in runj's own words.
fn says_network(config: &Value) -> bool {
    let jail = &config["freebsd"]["jail"];
    let in_jail = ["ip4", "ip6", "vnet", "ip4Addr", "ip6Addr"].iter().any(|name| !jail[name].is_null());
    let annotations = config["annotations"].as_object();
    let annotated = ["org.freebsd.jail.ip", "org.freebsd.jail.vnet"];
    in_jail
        || annotations.is_some_and(|all| all.keys().any(|key| annotated.iter().any(|prefix| key.starts_with(prefix))))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_shared_network_is_inherited() {
        let config = br#"{"linux":{"namespaces":[{"type":"pid"}]},"freebsd":{"devices":[]}}"#;
        let config: Value = serde_json::from_slice(&explicit(config).unwrap().unwrap()).unwrap();
        assert_eq!(config["freebsd"], json!({"devices": [], "jail": {"ip4": "inherit", "ip6": "inherit"}}));
        assert_eq!(config["linux"]["namespaces"][0]["type"], "pid");
    }

    #[rstest]
    #[case("{}")]
    #[case(r#"{"linux":{}}"#)]
    #[case(r#"{"linux":{"namespaces":[{"type":"network"}]}}"#)]
    #[case(r#"{"linux":{"namespaces":[]},"freebsd":{"jail":{"vnet":"new"}}}"#)]
    #[case(r#"{"linux":{"namespaces":[]},"annotations":{"org.freebsd.jail.ip4":"disable"}}"#)]
    fn what_is_said_stays(#[case] config: &str) {
        assert_eq!(explicit(config.as_bytes()).unwrap(), None);
    }

    #[rstest]
    #[case("{")]
    #[case(r#"{"linux":{"namespaces":[]},"freebsd":7}"#)]
    #[case(r#"{"linux":{"namespaces":[]},"freebsd":{"jail":[]}}"#)]
    fn nonsense_is_refused(#[case] config: &str) {
        assert!(explicit(config.as_bytes()).unwrap_err().text.starts_with("config.json: "));
    }
}
