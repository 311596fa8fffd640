//! What holds for every plan, whatever the bundle says. Shared by the property tests and the fuzz targets.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

use std::path::{Component, Path};

use runj::config::{Config, Process};
use runj::plan::coverage::Status;
use runj::plan::explain::{self, Explained};
use runj::plan::{Place, Plan, facts, jail, process, text};
use runj::sys::jail::{HostFacts, ParamValue, System};
use serde_json::Value;

/// The systems that a bundle is planned for: FreeBSD and the emulation, as they are and with accounting.
pub fn systems() -> [HostFacts; 4] {
    let accounts = |facts: HostFacts| HostFacts { racct: true, ..facts };
    [facts::freebsd14(), accounts(facts::freebsd14()), facts::linux(), accounts(facts::linux())]
}

/// Plans the bytes of a bundle for every system, and checks what comes out; returns how many plans there are.
pub fn check_bytes(bytes: &[u8], ext: Option<&[u8]>) -> usize {
    let config = match Config::parse(bytes, ext) {
        Ok(config) => config,
        Err(error) => {
            assert!(error.to_string().contains(".json: "), "{error} names no file");
            return 0;
        }
    };
    let json: Value = serde_json::from_slice(bytes).unwrap();
    let ext = ext.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let place = Place { bundle: Path::new("/bundle"), root: Path::new("/bundle/root") };
    let id = "c1".parse().unwrap();
    let asked = jail::asked(&config);
    let mut plans = 0;
    for facts in systems() {
        let outcome = Plan::new(&config, place, &id, &facts);
        let mut fewer = facts.clone();
        fewer.jail_params.retain(|name| asked.contains(name));
        assert_eq!(
            Plan::new(&config, place, &id, &fewer).ok(),
            outcome.as_ref().ok().cloned(),
            "what is not asked for decides"
        );
        match &outcome {
            Ok(plan) => {
                check_plan(plan, &facts);
                plans += 1;
            }
            Err(problems) => {
                assert!(!problems.0.is_empty(), "refused for no reason");
                for problem in &problems.0 {
                    assert!(!problem.property.is_empty() && !problem.message.is_empty(), "{problem:?}");
                }
                drop(problems.to_string());
            }
        }
        let explained = Explained { json: &json, ext: ext.as_ref(), config: &config, outcome: &outcome, facts: &facts };
        check_lines(&explained, &explain::explain(&explained));
    }
    plans
}

/// Each leaf has its line, nothing is refused that was planned, and no problem is left out.
fn check_lines(bundle: &Explained<'_>, lines: &[explain::Line]) {
    let mut leaves = Vec::new();
    collect(bundle.json, String::new(), &mut leaves);
    if let Some(ext) = bundle.ext {
        collect(ext, "runj.ext.json: ".to_owned(), &mut leaves);
    }
    let listed: Vec<&str> = lines.iter().map(|line| line.property.as_str()).collect();
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(listed.get(index), Some(&leaf.as_str()), "a leaf has no line");
    }
    assert!(lines.iter().all(|line| !line.effect.is_empty()), "{lines:?}");
    let refused = lines.iter().any(|line| line.status == Status::Refused);
    // What the list calls refused on principle (id mappings) is refused by the plan, too.
    assert_eq!(refused, bundle.outcome.is_err(), "{lines:?}");
    let text = explain::render(lines);
    assert_eq!(text.lines().count(), lines.len(), "{text}");
    drop(explain::ignored(lines));
}

/// The leaves of a document, in its order; not the program's own way of walking it.
fn collect(value: &Value, path: String, leaves: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => {
            let dot = if path.is_empty() || path.ends_with(' ') { "" } else { "." };
            object.iter().map(|(name, value)| (format!("{path}{dot}{name}"), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
        }
        _ => Vec::new(),
    };
    if below.is_empty() {
        return leaves.push(path);
    }
    for (path, value) in below {
        collect(value, path, leaves);
    }
}

/// The same for the file of `exec --process`.
pub fn check_process(bytes: &[u8]) {
    let Ok(parsed) = Process::parse(bytes) else { return };
    for system in [System::Freebsd, System::Linux] {
        let mut problems = Vec::new();
        let plan = process::plan(&parsed, system, &mut problems);
        if problems.is_empty() {
            check_process_plan(&plan);
        }
    }
}

fn check_plan(plan: &Plan, facts: &HostFacts) {
    let stored = serde_json::to_string(plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), *plan, "a plan survives its file");
    check_jail(plan, facts);
    check_mounts(plan);
    check_network(plan);
    check_process_plan(&plan.process);
    for (_, hooks) in plan.hooks.kinds() {
        for hook in hooks {
            assert!(hook.path.is_absolute(), "{hook:?}");
            assert!(hook.timeout.is_none_or(|seconds| seconds > 0), "{hook:?}");
            assert!(no_nul(hook.path.as_os_str().as_encoded_bytes()), "{hook:?}");
            assert!(hook.args.iter().chain(&hook.env).all(|text| no_nul(text.as_bytes())), "{hook:?}");
        }
    }
    check_commands(&text::render(plan));
}

fn check_jail(plan: &Plan, facts: &HostFacts) {
    for (name, value) in &plan.jail.0 {
        let known = facts.jail_params.contains(name)
            || facts.system == System::Linux && ["linux.netns", "linux.ipcns", "linux.utsns"].contains(&name.as_str());
        assert!(known, "{name} is no parameter of this kernel");
        if let ParamValue::Text(text) = value {
            assert!(no_nul(text.as_bytes()), "{name}: {text:?}");
        }
    }
    assert_eq!(plan.jail.get("path"), Some(&ParamValue::Root), "the root is the bundle's");
    let name = plan.jail_name();
    assert!(name == "c1" || name.ends_with(".c1"), "{name:?}");
    assert!(name.len() <= 255 && !name.contains(['/', ':']) && !name.contains(char::is_control), "{name:?}");
}

fn check_mounts(plan: &Plan) {
    for step in &plan.mounts {
        let destination = &step.destination;
        assert!(destination.is_absolute() && destination != Path::new("/"), "{step:?}");
        assert!(destination.components().all(|part| part != Component::CurDir), "{step:?}");
        assert!(no_nul(destination.as_os_str().as_encoded_bytes()), "{step:?}");
        let request = &step.request;
        assert!(!request.fstype.is_empty() && no_nul(request.fstype.as_bytes()), "{step:?}");
        if let Some(source) = &request.source {
            assert!(no_nul(source.as_os_str().as_encoded_bytes()), "{step:?}");
        }
        if request.fstype == "nullfs" {
            assert!(request.source.as_deref().is_some_and(Path::is_absolute), "{step:?}");
        }
        for (key, value) in &request.options {
            assert!(!key.is_empty() && no_nul(key.as_bytes()), "{step:?}");
            assert!(value.as_deref().is_none_or(|value| no_nul(value.as_bytes())), "{step:?}");
        }
        if request.fstype != "devfs" {
            assert!(request.rules.is_empty() && request.ruleset.is_none(), "{step:?}");
        }
        assert!(request.fstype == "tmpfs" || !request.copy_up, "{step:?}");
        for rule in &request.rules {
            if let Some(path) = &rule.path {
                assert!(!path.is_empty() && path.len() < 200 && no_nul(path.as_bytes()), "{rule:?}");
                assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."), "{rule:?}");
            }
            assert!(rule.mode.is_none_or(|mode| mode <= 0o7777), "{rule:?}");
        }
        // A devfs that would show every device of the host takes a ruleset that says so.
        if request.fstype == "devfs" {
            assert!(request.ruleset.is_some() == request.rules.is_empty(), "{step:?}");
        }
    }
}

fn check_network(plan: &Plan) {
    let network = &plan.network;
    let names = network.interfaces.iter().chain(network.aliases.iter().map(|alias| &alias.interface));
    for name in names {
        assert!((1..16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
        assert!(!name.contains(['/', ':']), "{name:?}");
    }
    assert!(network.interfaces.is_empty() || network.aliases.is_empty(), "{network:?}");
}

fn check_process_plan(plan: &process::ProcessPlan) {
    assert!(!plan.args.is_empty() && plan.cwd.is_absolute(), "{plan:?}");
    assert!(plan.args.iter().chain(&plan.env).all(|text| no_nul(text.as_bytes())), "{plan:?}");
    assert!(plan.env.iter().all(|text| text.find('=').is_some_and(|at| at > 0)), "{plan:?}");
    assert!(no_nul(plan.cwd.as_os_str().as_encoded_bytes()), "{plan:?}");
    assert!(plan.umask.is_none_or(|bits| bits <= 0o777), "{plan:?}");
    for limit in &plan.rlimits {
        assert!(limit.name.starts_with("RLIMIT_") && limit.soft <= limit.hard, "{limit:?}");
    }
}

/// Whoever pastes the commands into a shell runs what they show and nothing else.
fn check_commands(text: &str) {
    let mut quoted = false;
    let mut line_is_comment = false;
    let mut line_starts = true;
    let mut redirects = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if line_starts && !quoted {
            line_is_comment = character == '#';
            // Of the commands, `echo` alone writes a file.
            redirects = character == 'e';
        }
        line_starts = character == '\n';
        if line_is_comment {
            continue;
        }
        match character {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '\n' | ' ' => {}
            '>' if redirects => redirects = false,
            '\\' => drop(characters.next()),
            other => {
                assert!(other.is_ascii_alphanumeric() || "_-./=,:@%+".contains(other), "unquoted {other:?} in {text}");
            }
        }
    }
    assert!(!quoted, "{text}");
    let words = ["#", "mount", "rctl", "ifconfig", "jail", "devfs", "jexec"];
    let first = text.lines().next().and_then(|line| line.split(' ').next());
    assert!(first.is_some_and(|word| words.contains(&word)), "{text}");
}

fn no_nul(bytes: &[u8]) -> bool {
    !bytes.contains(&0)
}
