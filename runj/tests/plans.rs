//! Plans as a whole: what no bytes may bring about, and the plan of every property and of every engine's bundle, pinned
//! for both systems.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod rules;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use runj::config::Config;
use runj::plan::coverage::Coverage;
use runj::plan::explain::{self, Explained, Line};
use runj::plan::{Place, Plan, Problems, facts, text};
use runj::sys::jail::HostFacts;
use serde_json::{Map, Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A bundle, planned and explained.
fn planned(json: &Value, ext: Option<&Value>, facts: &HostFacts) -> (Result<Plan, Problems>, Vec<Line>) {
    let bytes = ext.map(|ext| ext.to_string().into_bytes());
    let config = Config::parse(json.to_string().as_bytes(), bytes.as_deref()).unwrap();
    let place = Place { bundle: Path::new("/bundle"), root: Path::new("/bundle/root") };
    let outcome = Plan::new(&config, place, &"c1".parse().unwrap(), facts);
    let lines = explain::explain(&Explained { json, ext, config: &config, outcome: &outcome, facts });
    (outcome, lines)
}

/// What is pinned: the commands, and what becomes of the properties that `of` names.
fn pin(json: &Value, ext: Option<&Value>, of: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for (title, facts) in [("FreeBSD", facts::freebsd14()), ("Linux", facts::linux())] {
        let facts = HostFacts { racct: true, ..facts };
        let (outcome, lines) = planned(json, ext, &facts);
        writeln!(out, "## {title}").unwrap();
        match outcome {
            Ok(plan) => out += &text::render(&plan),
            Err(problems) => writeln!(out, "{problems}").unwrap(),
        }
        let lines: Vec<Line> = lines.into_iter().filter(|line| of(&line.property)).collect();
        out += &explain::render(&lines);
    }
    out
}

/// RFC 7396, without removal.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            object.iter().for_each(|(name, value)| leaves(value, &format!("{path}{dot}{name}"), out));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().for_each(|value| leaves(value, &format!("{path}[]"), out))
        }
        _ => out.push(path.to_owned()),
    }
}

/// fixtures/spec/examples.json: each is a small change of the least bundle.
fn examples() -> Vec<(String, Value)> {
    let examples = read_json(&fixtures().join("spec/examples.json"));
    examples.as_object().unwrap().iter().map(|(name, patch)| (name.clone(), patch.clone())).collect()
}

fn least() -> Value {
    json!({ "ociVersion": "1.3.0", "root": { "path": "root" }, "process": { "args": ["/bin/sh"], "cwd": "/" } })
}

#[test]
fn every_example() {
    for (name, patch) in examples() {
        let mut json = least();
        merge(&mut json, &patch);
        let mut own = Vec::new();
        leaves(&patch, "", &mut own);
        let of = |property: &str| {
            let pattern = property.split(|c: char| c.is_ascii_digit()).collect::<String>();
            own.iter().any(|leaf| leaf.replace(|c: char| c.is_ascii_digit(), "") == pattern)
        };
        insta::assert_snapshot!(format!("example-{name}"), pin(&json, None, of));
    }
}

/// Every property of the specification is in an example, or in a group of which one is.
#[test]
fn every_property_has_an_example() {
    let coverage = Coverage::own();
    let mut used: Vec<String> = ["ociVersion", "root.path", "process.args", "process.cwd"].map(str::to_owned).to_vec();
    for (_, patch) in examples() {
        let mut own = Vec::new();
        leaves(&patch, "", &mut own);
        used.extend(own.iter().filter_map(|leaf| {
            let map = ["annotations", "linux.sysctl"].into_iter().find(|map| leaf.starts_with(&format!("{map}.")));
            coverage.entry(map.unwrap_or(leaf)).map(|entry| entry.property.clone())
        }));
    }
    let missing: Vec<&str> = coverage
        .properties
        .iter()
        .map(|entry| entry.property.as_str())
        .filter(|name| !used.iter().any(|u| u == name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// The words of the last command, as a shell reads them.
#[test]
fn a_shell_reads_the_words_of_the_bundle() {
    let words = ["/bin/x", "", "it's", "'; echo no #", "$HOME `id` $(id) \\ \"", "*~", "a\nb", "-n", "ünï"];
    let mut json = least();
    json["process"]["args"] = json!(words);
    let commands = text::render(&planned(&json, None, &facts::freebsd14()).0.unwrap());
    let (_, arguments) = commands.split_once("jexec c1 ").unwrap();
    let output = assert_cmd::Command::new("/bin/sh").arg("-c").arg(format!("printf '%s\\0' {arguments}")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), words.map(|word| format!("{word}\0")).concat());
}

/// Limits of `runj.ext.json`, over those of `config.json`; and both on a machine where none holds.
#[test]
fn limits_of_both_files() {
    let mut json = least();
    json["annotations"] = json!({ "org.freebsd.rctl.nthr": "9", "org.freebsd.rctl.openfiles": "log=32, deny=64" });
    json["linux"] = json!({ "resources": {
        "memory": { "limit": 64 }, "pids": { "limit": 9 }, "cpu": { "quota": 50000, "period": 100_000 } } });
    let limits = json!({
        "memoryuse": { "amount": "64m", "action": null },
        "nthr": [{ "amount": 7 }],
        "openfiles": { "amount": 5, "action": "deny" },
        "pcpu": [],
    });
    let ext = json!({ "network": { "ipv4": { "mode": null } }, "limits": limits });
    let mut pinned = pin(&json, Some(&ext), |property| property.contains("limit") || property.contains("rctl"));
    let lines = planned(&json, Some(&ext), &facts::freebsd14()).1;
    pinned += "## FreeBSD without accounting\n";
    pinned += &explain::render(&lines);
    insta::assert_snapshot!("limits-of-both-files", pinned);
}

#[test]
fn bundles_of_engines() {
    for entry in std::fs::read_dir(fixtures().join("engines")).unwrap() {
        let file = entry.unwrap().path().join("config.json");
        if file.is_file() {
            let name = file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
            let json = read_json(&file);
            for facts in rules::systems() {
                let (outcome, _) = planned(&json, None, &facts);
                // Whoever typed it asked for limits.
                if name == "nerdctl-linux" && !facts.racct {
                    let problems = outcome.unwrap_err().0;
                    assert!(problems.iter().all(|problem| problem.property.starts_with("linux.resources.")));
                    continue;
                }
                outcome.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            }
            insta::assert_snapshot!(format!("engine-{name}"), pin(&json, None, |_| true));
        }
    }
}

/// The whole message for every bad bundle, and which of them only `create` can refuse.
#[test]
fn bad_bundles() {
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(fixtures().join("invalid")).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        let (bytes, ext) = (
            std::fs::read(directory.join("config.json")).unwrap(),
            std::fs::read(directory.join("runj.ext.json")).ok(),
        );
        rules::check_bytes(&bytes, ext.as_deref());
        let place = Place { bundle: Path::new("/bundle"), root: Path::new("/bundle/root") };
        let message = match Config::parse(&bytes, ext.as_deref()) {
            Err(error) => error.to_string(),
            Ok(config) => match Plan::new(&config, place, &"c1".parse().unwrap(), &facts::freebsd14()) {
                Err(problems) => problems.to_string(),
                Ok(_) => "(refused by create alone)".to_owned(),
            },
        };
        messages.push(format!("{name}: {}", message.replace('\0', "\\0")));
    }
    messages.sort();
    insta::assert_snapshot!("invalid", messages.join("\n"));
}

/// The names and values from which configurations are made up.
fn words() -> Vec<String> {
    let mut words: Vec<String> = ["", "/", "/a", "..", "a\u{0}b", "'; reboot #", "new", "inherit", "disable", "maybe"]
        .map(str::to_owned)
        .to_vec();
    words.extend(
        ["devfs", "tmpfs", "nullfs", "proc", "ruleset=0", "rule=path null unhide", "size=1x", "10.0.0.1", "::1"]
            .map(str::to_owned),
    );
    words.extend(["org.freebsd.rctl.openfiles", "64m", "log=1,deny=2"].map(str::to_owned));
    words.extend(["RLIMIT_CPU", "epair0b", "org.freebsd.jail.vnet", "org.freebsd.jail.osrelease"].map(str::to_owned));
    words
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0), Just(-1), Just(1), Just(4096), any::<i64>()].prop_map(Value::from),
        prop::sample::select(words()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z.]{0,6}", inner), 0..3).prop_map(|list| Value::Object(Map::from_iter(list))),
        ]
    })
}

/// A bundle in which some properties of the specification have other values.
fn bundle() -> impl Strategy<Value = Value> {
    let paths: Vec<String> = Coverage::own().properties.iter().map(|entry| entry.property.clone()).collect();
    let change = (prop::sample::select(paths), value());
    prop::collection::vec(change, 0..6).prop_map(|changes| {
        let mut json = least();
        for (path, value) in changes {
            set(&mut json, &path.replace(".*", ".anything"), value);
        }
        json
    })
}

fn set(at: &mut Value, path: &str, value: Value) {
    let (name, rest) = match path.find(['.', '[']) {
        _ if path.is_empty() => {
            *at = value;
            return;
        }
        Some(0) if path.starts_with("[]") => {
            if !at.is_array() {
                *at = json!([{}]);
            }
            let list = at.as_array_mut().unwrap();
            if list.is_empty() {
                list.push(Value::Null);
            }
            return set(&mut list[0], path[2..].trim_start_matches('.'), value);
        }
        Some(end) => (&path[..end], path[end..].trim_start_matches('.')),
        None => (path, ""),
    };
    if !at.is_object() {
        *at = json!({});
    }
    set(&mut at[name], rest, value);
}

/// The largest configurations are planned in a time that grows with their size alone.
#[test]
fn many_entries_are_planned_at_once() {
    let many = |entry: &dyn Fn(usize) -> String| -> Vec<String> { (0..10_000).map(entry).collect() };
    let object = |entry: &dyn Fn(usize) -> String| -> Value {
        Value::Object(many(entry).into_iter().map(|name| (name, json!("1"))).collect())
    };
    let mut json = least();
    json["process"]["env"] = json!((0..10_000).collect::<Vec<_>>());
    json["process"]["rlimits"] =
        many(&|n| format!("RLIMIT_{n}")).iter().map(|name| json!({"type": name, "soft": 1, "hard": 1})).collect();
    json["annotations"] = object(&|n| format!("org.freebsd.jail.x{n}"));
    json["freebsd"]["jail"] = json!({
        "vnet": "new",
        "vnetInterfaces": many(&|n| format!("if{n}")),
        "ip4Addr": many(&|n| std::net::Ipv4Addr::from(u32::try_from(n).unwrap()).to_string()),
        "allow": { "mount": many(&|n| format!("fs{n}")) },
    });
    assert_eq!(rules::check_bytes(json.to_string().as_bytes(), None), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_bytes_break_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        rules::check_bytes(&bytes, Some(&bytes));
        rules::check_process(&bytes);
    }

    #[test]
    fn no_configuration_breaks_the_rules(json in bundle(), ext in value()) {
        rules::check_bytes(json.to_string().as_bytes(), None);
        rules::check_bytes(json.to_string().as_bytes(), Some(ext.to_string().as_bytes()));
        rules::check_process(json["process"].to_string().as_bytes());
    }
}
