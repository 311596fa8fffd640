//! What README and docs tell a reader to type is typed, and prints what they show. The guest of `make vm-test` has no
//! source tree.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use integ::docs::{Block, blocks, normal};
use integ::locate;
use integ::prelude::*;
use integ::wait::seconds;

/// The directory that documents name where a reader is to work.
const PLACE: &str = "/tmp/tour";

/// Clones the tree, with what is not committed yet.
const COPY: &str = r#"
    git clone --quiet --local "$1" "$2"
    cd "$1"
    git ls-files --cached --others --exclude-standard -z | tar --null -T - --ignore-failed-read -cf - | tar -xf - -C "$2"
"#;

fn tree() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "examples/README.md"].map(|name| tree().join(name)).into();
    let docs = fs::read_dir(tree().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found.sort();
    found
}

/// Every block that says of itself nothing else, in the order of its document, in a clone of the tree.
#[test]
fn what_is_to_be_typed_works() {
    case(needs!(Runj, Clone), |case| {
        let mut run = 0;
        for document in documents() {
            let name = document.strip_prefix(tree()).unwrap().display().to_string();
            let text = fs::read_to_string(&document).unwrap();
            let typed: Vec<Block> = blocks(&text).into_iter().filter(|block| block.needs.is_none()).collect();
            if !typed.is_empty() {
                type_all(case, &name, &typed);
                run += typed.len();
            }
        }
        assert!(run >= 2, "only {run} blocks were found that can be run");
    });
}

/// A reader types all of a document into one shell.
fn type_all(case: &Case, name: &str, typed: &[Block]) {
    let place = case.path(&name.replace('/', "-"));
    Program::new("sh").args(["-euc", COPY, "sh"]).arg(tree()).arg(&place).env_inherit().ok();
    let mut script = format!("set -e\nrunj() {{ command runj --root {} \"$@\"; }}\n", case.root().display());
    for block in typed {
        for command in &block.commands {
            writeln!(script, "echo {name}:{}: '{}' >&2\n{command}", block.line, command.replace('\'', "'\\''"))
                .unwrap();
        }
    }
    let runtime = locate::runtime().unwrap();
    let path = format!("{}:{}", runtime.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let shell = Program::new("sh").args(["-c", &script]).env_inherit().env("PATH", &path).cwd(&place);
    let output = shell.deadline(seconds(100)).run();
    let (printed, typed_lines) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{typed_lines}\n{printed}", output.status);
    let printed: Vec<String> =
        printed.lines().map(|line| normal(&line.replace(&*place.to_string_lossy(), PLACE))).collect();
    for (block, line) in typed.iter().flat_map(|block| block.output.iter().map(move |line| (block, line))) {
        let shown = line == "…" || printed.contains(&normal(line));
        assert!(shown, "{name}:{}: shows what was not printed: {line}\n{printed:#?}", block.line);
    }
}
