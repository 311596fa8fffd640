//! Writes NOTICE, the licences of every crate that is linked into what we install, or checks that it is complete.
//!
//! `notice write FILE` collects the texts from the sources that cargo has downloaded; `notice verify FILE` compares the
//! list of crates alone. Both ask `cargo metadata` for the graph of both systems; crates that only build or test
//! ours (build scripts, macros, development) are linked into nothing and left out.
#![allow(clippy::disallowed_methods)] // a build tool, not the runtime: it runs cargo

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The crates that are installed.
const INSTALLED: [&str; 2] = ["runj", "shim"];
/// The systems that they run on.
const TARGETS: [&str; 2] = ["x86_64-unknown-freebsd", "x86_64-unknown-linux-gnu"];
/// Where a crate may be had under several licences, the first of these.
const PREFERRED: [&str; 6] = ["MIT", "BSD", "ISC", "ZLIB", "APACHE", "UNLICENSE"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["write", file] => write(Path::new(file)),
        ["verify", file] => verify(Path::new(file)),
        _ => Err(anyhow::anyhow!("usage: notice write|verify FILE")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notice: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A crate that is linked into what we install.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    directory: PathBuf,
}

impl Crate {
    /// The line that stands for it in NOTICE.
    fn line(&self) -> String {
        format!("  {} {}: {}", self.name, self.version, self.licence)
    }
}

fn write(file: &Path) -> Result<()> {
    let crates = linked_crates(&metadata()?)?;
    let text = notice(&crates)?;
    if std::fs::read_to_string(file).is_ok_and(|present| present == text) {
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

fn verify(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let problems = differences(&text, &linked_crates(&metadata()?)?);
    if !problems.is_empty() {
        bail!("{} is out of date; run make NOTICE\n  {}", file.display(), problems.join("\n  "));
    }
    Ok(())
}

/// What NOTICE lacks and what it has too much.
fn differences(text: &str, crates: &[Crate]) -> Vec<String> {
    let listed: BTreeSet<&str> =
        text.lines().skip_while(|line| *line != LIST).skip(1).take_while(|line| !line.is_empty()).collect();
    let expected: Vec<String> = crates.iter().map(Crate::line).collect();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    let missing = expected.difference(&listed).map(|line| format!("missing: {}", line.trim()));
    let surplus = listed.difference(&expected).map(|line| format!("no longer linked: {}", line.trim()));
    missing.chain(surplus).collect()
}

fn metadata() -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1"]);
    for target in TARGETS {
        command.args(["--filter-platform", target]);
    }
    let output = command.output().context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the output of cargo metadata")
}

/// The crates that `INSTALLED` reach by dependencies that are neither for building nor for development.
fn linked_crates(metadata: &Value) -> Result<Vec<Crate>> {
    let packages: BTreeMap<&str, &Value> =
        list(metadata, "packages").filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").filter_map(|node| Some((node["id"].as_str()?, node))).collect();

    let members: BTreeSet<&str> = list(metadata, "workspace_members").filter_map(Value::as_str).collect();
    let mut waiting: Vec<&str> = members
        .iter()
        .copied()
        .filter(|id| packages.get(id).is_some_and(|package| INSTALLED.iter().any(|name| package["name"] == *name)))
        .collect();
    if waiting.len() != INSTALLED.len() {
        bail!("cargo metadata: does not have all of {}", INSTALLED.join(", "));
    }
    let mut reached = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        let package = packages.get(id).with_context(|| format!("cargo metadata: no package {id}"))?;
        if is_macro(package) || !reached.insert(id) {
            continue;
        }
        let node = nodes.get(id).with_context(|| format!("cargo metadata: no node {id}"))?;
        waiting.extend(list(node, "deps").filter(|dependency| is_linked(dependency)).filter_map(|d| d["pkg"].as_str()));
    }
    let mut crates = reached
        .difference(&members)
        .map(|id| {
            let package = packages[id];
            let manifest = Path::new(text(package, "manifest_path")?);
            Ok(Crate {
                name: text(package, "name")?.to_owned(),
                version: text(package, "version")?.to_owned(),
                licence: package["license"].as_str().unwrap_or("see its licence file").replace('/', " OR "),
                directory: manifest.parent().unwrap_or(Path::new(".")).to_owned(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    crates.sort();
    Ok(crates)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata: a package has no {key}"))
}

fn is_macro(package: &Value) -> bool {
    list(package, "targets").any(|target| list(target, "kind").any(|kind| kind == "proc-macro"))
}

fn is_linked(dependency: &Value) -> bool {
    list(dependency, "dep_kinds").any(|kind| kind["kind"].is_null())
}

/// What is compiled in besides crates.
const INTERFACES: &str =
    "containerd-shim-runj-v1 is built from interfaces of containerd and containerd/cgroups (shim/proto): Copyright
The containerd Authors, Apache-2.0, whose text is below; and types/fieldpath.proto: Copyright (c) 2013, The
GoGo Authors, under the conditions at the end.
";

/// The one of these files with a licence that asks to be passed on and is not that of a crate.
const FIELDPATH: &str = "../shim/proto/types/fieldpath.proto";

/// The line before the list of crates.
const LIST: &str = "Crates:";

fn notice(crates: &[Crate]) -> Result<String> {
    // Most crates share a few texts; each is printed once.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for one in crates {
        let found = licence_texts(one)?;
        if found.is_empty() {
            without.push(format!("  {} {}", one.name, one.version));
        }
        for licence in found {
            texts.entry(licence).or_default().push(format!("{} {}", one.name, one.version));
        }
    }
    let mut texts: Vec<(Vec<String>, String)> = texts.into_iter().map(|(text, users)| (users, text)).collect();
    texts.sort();

    let mut notice = String::from(
        "NOTICE\n\nThe programs of runj are under the licence in the file LICENSE. The crates below are linked into \
         them and\nkeep their own licences, whose texts follow. They also contain the standard library of Rust (MIT OR \
         Apache-2.0,\nCopyright The Rust Project Developers) and, where they are static, the C library of their \
         system. This file\nis written by `make NOTICE`.\n\n",
    );
    notice.push_str(LIST);
    notice.push('\n');
    for one in crates {
        notice.push_str(&one.line());
        notice.push('\n');
    }
    notice.push('\n');
    notice.push_str(INTERFACES);
    if !without.is_empty() {
        notice.push_str("\nThese come without a licence file; the licence named above is all they say:\n");
        notice.push_str(&without.join("\n"));
        notice.push('\n');
    }
    let fieldpath = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIELDPATH);
    let proto = std::fs::read_to_string(&fieldpath).with_context(|| format!("{}", fieldpath.display()))?;
    texts.push((vec!["types/fieldpath.proto".to_owned()], header(&proto)));
    for (users, text) in texts {
        notice.push_str(&format!("\n{}\n{}\n\n{text}\n", "-".repeat(100), wrapped(&users)));
    }
    Ok(notice)
}

/// The comment that a source file begins with.
fn header(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//")).map(str::trim_start);
    lines.collect::<Vec<_>>().join("\n")
}

fn wrapped(words: &[String]) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        let line = lines.last().map_or(0, String::len);
        if line > 0 && line + word.len() + 2 > 100 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push_str(", ");
            }
            line.push_str(word);
        }
    }
    lines.join(",\n")
}

/// The texts that a crate's licence asks to pass on: one of several to choose from, and every notice.
fn licence_texts(one: &Crate) -> Result<Vec<String>> {
    let mut files = BTreeMap::new();
    let entries = std::fs::read_dir(&one.directory).with_context(|| format!("{}", one.directory.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("{}", one.directory.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "UNLICENSE", "NOTICE", "COPYRIGHT"];
        if path.is_file() && is_licence.iter().any(|prefix| name.starts_with(prefix)) {
            let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
            files.insert(name, tidy(&String::from_utf8_lossy(&bytes)));
        }
    }
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    Ok(chosen(&one.licence, &names).into_iter().filter_map(|name| files.get(name).cloned()).collect())
}

/// Which of the files to pass on.
fn chosen<'a>(licence: &str, names: &[&'a str]) -> Vec<&'a str> {
    let notices = names.iter().copied().filter(|name| name.starts_with("NOTICE"));
    let licences: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("NOTICE")).collect();
    // An expression with AND means all of them; a choice is ours only where there is nothing but OR.
    let choice = licence.contains(" OR ") && !licence.contains(" AND ");
    let one =
        PREFERRED.iter().filter(|_| choice).find_map(|kind| licences.iter().copied().find(|name| name.contains(kind)));
    match one {
        Some(name) => std::iter::once(name).chain(notices).collect(),
        None => licences.into_iter().chain(notices).collect(),
    }
}

fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, kind: &str) -> Value {
        json!({
            "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
            "manifest_path": format!("/src/{name}/Cargo.toml"), "targets": [{ "kind": [kind] }],
        })
    }

    fn dependency(name: &str, kind: Value) -> Value {
        json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] })
    }

    #[test]
    fn only_what_is_linked_is_listed() {
        let metadata = json!({
            "packages": [
                package("runj", "bin"), package("shim", "bin"), package("a", "lib"), package("b", "lib"),
                package("derive", "proc-macro"), package("syn", "lib"), package("build", "lib"), package("dev", "lib"),
            ],
            "workspace_members": ["runj", "shim"],
            "resolve": { "nodes": [
                { "id": "runj", "deps": [
                    dependency("a", Value::Null), dependency("derive", Value::Null), dependency("dev", json!("dev")),
                ] },
                { "id": "shim", "deps": [dependency("runj", Value::Null), dependency("build", json!("build"))] },
                { "id": "a", "deps": [dependency("b", Value::Null)] },
                { "id": "b", "deps": [] },
                { "id": "derive", "deps": [dependency("syn", Value::Null)] },
            ] },
        });
        let crates = linked_crates(&metadata).unwrap();
        let lines: Vec<String> = crates.iter().map(Crate::line).collect();
        assert_eq!(lines, ["  a 1.0.0: MIT OR Apache-2.0", "  b 1.0.0: MIT OR Apache-2.0"]);

        let present = format!("NOTICE\n\n{LIST}\n  a 1.0.0: MIT OR Apache-2.0\n  c 2.0.0: ISC\n\ntexts\n");
        let problems = ["missing: b 1.0.0: MIT OR Apache-2.0", "no longer linked: c 2.0.0: ISC"];
        assert_eq!(differences(&present, &crates), problems);
    }

    #[test]
    fn a_header_ends_with_the_comment() {
        assert_eq!(header("// Copyright X\n//\n//  Conditions\n\n// more\n"), "Copyright X\n\nConditions");
    }

    #[test]
    fn one_of_several_licences_and_every_notice() {
        let names = ["LICENSE-APACHE", "LICENSE-MIT", "NOTICE.TXT"];
        assert_eq!(chosen("MIT OR Apache-2.0", &names), ["LICENSE-MIT", "NOTICE.TXT"]);
        assert_eq!(chosen("(MIT OR Apache-2.0) AND Unicode-3.0", &names), names);
        assert_eq!(chosen("Apache-2.0", &["LICENSE"]), ["LICENSE"]);
        assert_eq!(chosen("MIT OR Apache-2.0", &["COPYRIGHT"]), ["COPYRIGHT"]);
    }
}
