//! From JSON to a [`Config`]. Pure.
//!
//! Messages are serde's own, with the path of the property before them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Config, ConfigError, Hook, Hooks, Linux, MAX_CONFIG, Mount, Process, freebsd, kinds, resources};

const CONFIG: &str = "config.json";

/// The members of [`oci::Spec`] that oci-spec reads for runj; the others would be code for what is never looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    oci_version: String,
    root: Option<oci::Root>,
    mounts: Option<Vec<oci::Mount>>,
    hostname: Option<String>,
    domainname: Option<String>,
    hooks: Option<oci::Hooks>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Those of [`oci::Process`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecProcess {
    terminal: Option<bool>,
    console_size: Option<oci::Box>,
    user: oci::User,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    #[serde(default)]
    cwd: PathBuf,
    no_new_privileges: Option<bool>,
}

pub(super) fn object(file: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    match json(file, bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(ConfigError { file, property: String::new(), message: "must be an object".into() }),
    }
}

pub(super) fn json<T: serde::de::DeserializeOwned>(file: &'static str, bytes: &[u8]) -> Result<T, ConfigError> {
    if bytes.len() as u64 > MAX_CONFIG {
        let message = format!("larger than {} MiB", MAX_CONFIG >> 20);
        return Err(ConfigError { file, property: String::new(), message });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ConfigError {
        file,
        property: String::new(),
        message: format!("not UTF-8 at byte {}", error.valid_up_to()),
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| path_error(file, "", &error))?;
    deserializer.end().map_err(|error| ConfigError { file, property: String::new(), message: error.to_string() })?;
    Ok(value)
}

fn path_error(file: &'static str, prefix: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let path = error.path().to_string();
    let property = match (prefix, path.as_str()) {
        // A text that ends in the middle of a name.
        ("", "?" | ".") => String::new(),
        ("", path) => format!("{path}: "),
        (prefix, ".") => format!("{prefix}: "),
        (prefix, path) if path.starts_with('[') => format!("{prefix}{path}: "),
        (prefix, path) => format!("{prefix}.{path}: "),
    };
    ConfigError { file, property, message: error.inner().to_string() }
}

pub(super) fn from_value<T: serde::de::DeserializeOwned>(
    file: &'static str,
    property: &str,
    value: Value,
) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| path_error(file, property, &error))
}

fn take<T: serde::de::DeserializeOwned + Default>(
    object: &mut Map<String, Value>,
    file: &'static str,
    prefix: &str,
    key: &str,
) -> Result<T, ConfigError> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => from_value(file, &format!("{prefix}{key}"), value),
    }
}

/// Reads `config.json`. What has a wrong type is replaced and listed, if the rest can be read then.
pub(super) fn config(bytes: &[u8]) -> Result<Config, ConfigError> {
    let error = match config_from(json(CONFIG, bytes)?) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    let mut top = json(CONFIG, bytes)?;
    let unreadable = kinds::repair(&mut top, kinds::CONFIG);
    config_from(top).map(|config| Config { unreadable, ..config }).map_err(|_| error)
}

/// Reads the file of `exec --process`, and lists everything of a wrong type.
pub(super) fn process(bytes: &[u8]) -> Result<Process, ConfigError> {
    const FILE: &str = "process.json";
    process_from(object(FILE, bytes)?, FILE, "").map_err(|error| {
        let unreadable = object(FILE, bytes).map(|mut object| kinds::repair(&mut object, kinds::PROCESS));
        let list: Vec<String> = unreadable.iter().flatten().map(ToString::to_string).collect();
        match list.is_empty() {
            true => error,
            false => ConfigError { file: FILE, property: String::new(), message: list.join("; ") },
        }
    })
}

/// Takes apart what oci-spec does not know (the `freebsd` object, the rlimits of FreeBSD) or is too strict about
/// (`process.user` missing), and lets it parse the rest.
fn config_from(mut top: Map<String, Value>) -> Result<Config, ConfigError> {
    drop_nulls(&mut top);
    let freebsd: freebsd::FreeBsd = take(&mut top, CONFIG, "", "freebsd")?;
    let mut ignored = resources::ignored(top.get("linux").and_then(|linux| linux.get("resources")));
    ignored.retain(|property| property != "devices");
    let linux = Linux { resources_ignored: ignored, ..take(&mut top, CONFIG, "", "linux")? };
    let process = match top.remove("process") {
        None => None,
        Some(Value::Object(object)) => Some(process_from(object, CONFIG, "process.")?),
        Some(_) => {
            return Err(ConfigError {
                file: CONFIG,
                property: "process: ".into(),
                message: "must be an object".into(),
            });
        }
    };
    let spec: Spec = from_value(CONFIG, "", Value::Object(top))?;
    Ok(Config {
        oci_version: spec.oci_version,
        root_path: spec.root.as_ref().map(|root| root.path().clone()),
        root_read_only: spec.root.as_ref().and_then(oci::Root::readonly).unwrap_or(false),
        mounts: spec.mounts.iter().flatten().map(mount_from).collect(),
        process,
        hostname: spec.hostname,
        domainname: spec.domainname,
        hooks: spec.hooks.as_ref().map(hooks_from).unwrap_or_default(),
        annotations: spec.annotations.into_iter().flatten().collect(),
        jail: freebsd.jail,
        devices: freebsd.devices,
        linux,
        rules: Vec::new(),
        unreadable: Vec::new(),
        problems: Vec::new(),
    })
}

/// null is the same as absent: Go writes it for a list that is empty.
fn drop_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    object.values_mut().for_each(drop_nulls_below);
}

fn drop_nulls_below(value: &mut Value) {
    match value {
        Value::Object(object) => drop_nulls(object),
        Value::Array(list) => list.iter_mut().for_each(drop_nulls_below),
        _ => {}
    }
}

fn process_from(mut object: Map<String, Value>, file: &'static str, prefix: &str) -> Result<Process, ConfigError> {
    drop_nulls(&mut object);
    let rlimits = take(&mut object, file, prefix, "rlimits")?;
    let user = object.entry("user").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(user) = user {
        for id in ["uid", "gid"] {
            user.entry(id).or_insert_with(|| Value::from(0));
        }
    }
    let process: SpecProcess = from_value(file, prefix.trim_end_matches('.'), Value::Object(object))?;
    let user = process.user;
    Ok(Process {
        terminal: process.terminal.unwrap_or(false),
        console_size: process.console_size.map(|size| (size.height(), size.width())),
        args: process.args.unwrap_or_default(),
        env: process.env.unwrap_or_default(),
        cwd: process.cwd,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask(),
        rlimits,
        no_new_privileges: process.no_new_privileges.unwrap_or(false),
    })
}

fn mount_from(mount: &oci::Mount) -> Mount {
    Mount {
        destination: mount.destination().clone(),
        fstype: mount.typ().clone(),
        source: mount.source().clone(),
        options: mount.options().clone().unwrap_or_default(),
        id_mappings: mount.uid_mappings().is_some() || mount.gid_mappings().is_some(),
    }
}

fn hooks_from(hooks: &oci::Hooks) -> Hooks {
    let list = |hooks: &Option<Vec<oci::Hook>>| -> Vec<Hook> {
        let hook = |hook: &oci::Hook| Hook {
            path: hook.path().clone(),
            args: hook.args().clone().unwrap_or_default(),
            env: hook.env().clone().unwrap_or_default(),
            timeout: hook.timeout(),
        };
        hooks.iter().flatten().map(hook).collect()
    };
    #[allow(deprecated)] // prestart is deprecated by the spec and still to be run
    Hooks {
        prestart: list(hooks.prestart()),
        create_runtime: list(hooks.create_runtime()),
        create_container: list(hooks.create_container()),
        start_container: list(hooks.start_container()),
        poststart: list(hooks.poststart()),
        poststop: list(hooks.poststop()),
    }
}
