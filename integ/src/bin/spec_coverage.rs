//! Keeps docs/spec-coverage.md true.
//!
//! `spec-coverage derive CHECKOUT VERSION` lists the properties that the JSON schema of the runtime specification names,
//! and how many MUSTs each section of runtime.md has, as fixtures/spec/runtime-spec.tsv. `write` makes the document from
//! fixtures/spec/coverage.json, `verify` checks that list, document and specification agree and that each test exists.
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // a build tool, not the runtime: it reads and writes the tree

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use runj::plan::coverage::Coverage;
use serde_json::Value;

const LIST: &str = "fixtures/spec/coverage.json";
const SPECIFICATION: &str = "fixtures/spec/runtime-spec.tsv";
const DOCUMENT: &str = "docs/spec-coverage.md";
/// Where tests are.
const TESTS: [&str; 5] = ["integ/tests", "runj/tests", "runj/src", "shim/src", "shim/tests"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let outcome = match words.as_slice() {
        ["derive", checkout, version] => derive(Path::new(checkout), version, &tree),
        ["write"] => Tree::read(&tree).and_then(|read| write(&tree.join(DOCUMENT), &read.document())),
        ["verify"] => Tree::read(&tree).and_then(|read| read.verify()),
        _ => Err(anyhow::anyhow!("usage: spec-coverage derive CHECKOUT VERSION | write | verify")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spec-coverage: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is compared.
struct Tree {
    directory: PathBuf,
    coverage: Coverage,
    specification: Specification,
}

/// What the specification names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Specification {
    /// Property to type.
    properties: BTreeMap<String, String>,
    /// Section of runtime.md to its number of MUSTs.
    musts: BTreeMap<String, usize>,
}

impl Tree {
    fn read(directory: &Path) -> Result<Self> {
        let coverage = Coverage::parse(&read(&directory.join(LIST))?).context(LIST)?;
        let specification = Specification::parse(&read(&directory.join(SPECIFICATION))?).context(SPECIFICATION)?;
        Ok(Self { directory: directory.to_path_buf(), coverage, specification })
    }

    fn verify(&self) -> Result<()> {
        let mut problems = self.missing();
        problems.extend(self.unknown_tests()?);
        if read(&self.directory.join(DOCUMENT))? != self.document() {
            problems.push(format!("{DOCUMENT} differs from {LIST}: run make spec-coverage"));
        }
        if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n  ")) }
    }

    /// What the specification names and the list does not, and the reverse.
    fn missing(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for property in self.specification.properties.keys() {
            if self.coverage.entry(property).is_none() {
                problems.push(format!("{LIST} lacks {property}"));
            }
        }
        let mut seen = BTreeSet::new();
        for entry in &self.coverage.properties {
            let known = match entry.property.strip_suffix(".*") {
                Some(group) => {
                    let below =
                        |name: &String| name.strip_prefix(group).is_some_and(|rest| rest.starts_with(['.', '[']));
                    self.specification.properties.keys().any(below)
                }
                None => self.specification.properties.contains_key(&entry.property),
            };
            if !known {
                problems.push(format!("{LIST}: {}: the specification has no such property", entry.property));
            }
            if !seen.insert(&entry.property) {
                problems.push(format!("{LIST}: {} stands twice", entry.property));
            }
            if entry.effect.is_empty() || entry.tests.is_empty() {
                problems.push(format!("{LIST}: {}: has no effect or no test", entry.property));
            }
        }
        for (section, count) in &self.specification.musts {
            let listed = self.coverage.musts.iter().filter(|must| must.section == *section).count();
            if listed != *count {
                problems.push(format!("{LIST}: {section}: {listed} MUSTs, the specification has {count}"));
            }
        }
        for must in &self.coverage.musts {
            if !self.specification.musts.contains_key(&must.section) || must.tests.is_empty() {
                problems.push(format!("{LIST}: {:?}: unknown section, or no test", must.must));
            }
        }
        problems
    }

    /// The tests that the list names and no file holds.
    fn unknown_tests(&self) -> Result<Vec<String>> {
        let mut known = BTreeSet::new();
        for directory in TESTS {
            tests_below(&self.directory.join(directory), &mut known)?;
        }
        let named = self.coverage.properties.iter().flat_map(|entry| &entry.tests);
        let named: BTreeSet<&String> = named.chain(self.coverage.musts.iter().flat_map(|must| &must.tests)).collect();
        let exists = |name: &str| match name.strip_prefix("invalid/") {
            Some(fixture) => self.directory.join("fixtures/invalid").join(fixture).join("expected").is_file(),
            None => known.contains(name),
        };
        Ok(named.into_iter().filter(|name| !exists(name)).map(|name| format!("{LIST}: {name}: no such test")).collect())
    }

    fn document(&self) -> String {
        let mut out = String::from(
            "# Coverage of the OCI runtime specification\n\n\
             Made by `make spec-coverage` from `fixtures/spec/coverage.json`, which is also what `runj plan --explain` answers\n\
             from. `make lint` fails if a property of the specification's own JSON schema is missing here, if a test does not\n\
             exist, or if this file was changed by hand. `[]` stands for each entry of a list, `.*` for everything below.\n\n\
             *applied*: does what the specification says; *ignored*: has no effect, for the reason given, and is no error, since\n\
             engines send it; *refused*: an error that names it. Values that cannot be applied are always refused. `invalid/NAME`\n\
             is a fixture of `invalid::a_configuration_is_refused`.\n",
        );
        for (title, prefix) in SECTIONS {
            out += &format!("\n## {title}\n\n| property | status | what becomes of it | tests |\n|---|---|---|---|\n");
            let entries = self.coverage.properties.iter().filter(|entry| section_of(&entry.property) == prefix);
            for entry in entries {
                let mut effect = entry.effect.clone();
                if let Some(emulation) = &entry.emulation {
                    effect += &format!(". On Linux: {}, {}.", emulation.status.as_str(), emulation.effect);
                }
                let row =
                    [format!("`{}`", entry.property), entry.status.as_str().to_owned(), effect, tests(&entry.tests)];
                out += &format!("| {} |\n", row.join(" | "));
            }
        }
        out += "\n## Every MUST of runtime.md\n\n| section | the runtime must | kept by | tests |\n|---|---|---|---|\n";
        for must in &self.coverage.musts {
            out += &format!("| {} | {} | {} | {} |\n", must.section, must.must, must.how, tests(&must.tests));
        }
        out
    }
}

/// The chapters of the document and the beginning of their properties' names.
const SECTIONS: [(&str, &str); 4] =
    [("config.md", ""), ("config-freebsd.md", "freebsd"), ("config-linux.md", "linux"), ("Other platforms", "other")];

fn section_of(property: &str) -> &'static str {
    match property.split(['.', '[']).next() {
        Some("freebsd") => "freebsd",
        Some("linux") => "linux",
        Some("solaris" | "windows" | "vm" | "zos") => "other",
        _ => "",
    }
}

fn tests(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Adds `FILE::TEST` for each test function below the directory.
fn tests_below(directory: &Path, known: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            tests_below(&path, known)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let stem = path.file_stem().unwrap_or_default();
            let stem = if stem == "mod" || stem == "tests" { directory.file_name().unwrap_or_default() } else { stem };
            let text = read(&path)?;
            for line in text.lines() {
                let line = line.trim_start();
                let name = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "));
                if let Some((name, _)) = name.and_then(|name| name.split_once('(')) {
                    known.insert(format!("{}::{name}", stem.to_string_lossy()));
                }
            }
        }
    }
    Ok(())
}

impl Specification {
    fn parse(text: &str) -> Result<Self> {
        let mut parsed = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once('\t').with_context(|| format!("{line:?}: not two columns"))?;
            match name.strip_prefix("runtime.md ") {
                Some(section) => drop(parsed.musts.insert(section.to_owned(), value.parse()?)),
                None => drop(parsed.properties.insert(name.to_owned(), value.to_owned())),
            }
        }
        Ok(parsed)
    }
}

/// Reads a checkout of the specification.
fn derive(checkout: &Path, version: &str, tree: &Path) -> Result<()> {
    let schema = Schema { directory: checkout.join("schema"), documents: BTreeMap::new().into() };
    let mut properties = BTreeMap::new();
    schema.collect(&schema.document("config-schema.json")?, "config-schema.json", "", &mut properties)?;
    let mut out = format!(
        "# The properties of config.json in version {version} of the OCI runtime specification, with their types, as its JSON\n\
         # schema (schema/*.json) has them, and how many MUSTs each section of its runtime.md holds. Derived from\n\
         # https://github.com/opencontainers/runtime-spec, which is under the Apache License, version 2.0.\n"
    );
    for (name, kind) in &properties {
        out += &format!("{name}\t{kind}\n");
    }
    for (section, count) in musts(&read(&checkout.join("runtime.md"))?) {
        out += &format!("runtime.md {section}\t{count}\n");
    }
    write(&tree.join(SPECIFICATION), &out)
}

/// The number of MUSTs below each heading.
fn musts(text: &str) -> Vec<(String, usize)> {
    let mut sections: Vec<(String, usize)> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            let title = line.rsplit('>').next().unwrap_or_default().trim_start_matches('#').trim();
            sections.push((title.to_owned(), 0));
        } else if let Some((_, count)) = sections.last_mut() {
            *count += line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| *word == "MUST").count();
        }
    }
    sections.retain(|(_, count)| *count > 0);
    sections
}

/// The files of the JSON schema.
struct Schema {
    directory: PathBuf,
    documents: std::cell::RefCell<BTreeMap<String, Value>>,
}

impl Schema {
    fn document(&self, name: &str) -> Result<Value> {
        if let Some(known) = self.documents.borrow().get(name) {
            return Ok(known.clone());
        }
        let value: Value = serde_json::from_str(&read(&self.directory.join(name))?).context(name.to_owned())?;
        self.documents.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(value)
    }

    /// Adds what a schema describes: the properties of objects, and everything that has none.
    fn collect(&self, schema: &Value, file: &str, path: &str, out: &mut BTreeMap<String, String>) -> Result<()> {
        if let Some(reference) = schema["$ref"].as_str() {
            let (other, pointer) = reference.split_once('#').with_context(|| reference.to_owned())?;
            let other = if other.is_empty() { file } else { other };
            let pointer = format!("/{}", pointer.trim_start_matches('/'));
            let document = self.document(other)?;
            let target = document.pointer(&pointer).with_context(|| format!("{file}: {reference}: not there"))?;
            return self.collect(target, other, path, out);
        }
        for alternative in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten() {
            self.collect(alternative, file, path, out)?;
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, schema) in properties {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.collect(schema, file, &below, out)?;
            }
            return Ok(());
        }
        if let Some(items) = schema.get("items") {
            let mut inner = BTreeMap::new();
            self.collect(items, file, &format!("{path}[]"), &mut inner)?;
            match inner.remove(&format!("{path}[]")) {
                Some(kind) => drop(out.insert(path.to_owned(), format!("{kind}[]"))),
                None => out.extend(inner),
            }
            return Ok(());
        }
        if path.is_empty() || ["allOf", "anyOf", "oneOf"].iter().any(|key| schema.get(*key).is_some()) {
            return Ok(());
        }
        let kind = match schema["type"].as_str() {
            Some("object") => "map",
            Some(kind) => kind,
            None => return Ok(()),
        };
        out.insert(path.to_owned(), kind.to_owned());
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
    }

    #[test]
    fn list_document_and_specification_agree() {
        tree().verify().unwrap();
    }

    #[test]
    fn what_is_missing_is_found() {
        let mut tree = tree();
        tree.coverage.properties.retain(|entry| entry.property != "process.cwd");
        tree.coverage.properties[0].tests = vec!["process::no_such_test".to_owned()];
        tree.coverage.musts.pop();
        let missing = tree.missing();
        assert!(missing.iter().any(|problem| problem.ends_with("lacks process.cwd")), "{missing:?}");
        assert!(missing.iter().any(|problem| problem.contains("MUSTs, the specification has")), "{missing:?}");
        assert_eq!(tree.unknown_tests().unwrap().len(), 1);
        assert!(tree.verify().unwrap_err().to_string().contains("differs from"));
    }

    #[test]
    fn musts_are_counted_below_their_heading() {
        let text = "# A\n## <a name=\"b\" />B\nX MUST a, MUST NOT b.\n## C\n## D\nMUST.\n";
        assert_eq!(musts(text), [("B".to_owned(), 2), ("D".to_owned(), 1)]);
    }
}
