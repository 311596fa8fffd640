//! What is written about the command line elsewhere, compared with it: docs/man/runj.8, packaging/completions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use super::Cli;
use super::demo::Demo;

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The command line with that of the program that `demo` is.
fn command_line() -> clap::Command {
    Cli::command().mut_subcommand("demo", |demo| {
        Demo::augment_subcommands(clap::Command::new("demo").subcommand_required(true).arg_required_else_help(true))
            .about(demo.get_about().cloned().unwrap_or_default())
    })
}

/// For each verb, and for "" before them, the options that the help shows.
type Options = BTreeMap<String, BTreeSet<String>>;

fn of_command_line() -> Options {
    fn walk(command: &clap::Command, name: &str, found: &mut Options) {
        let mut verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).peekable();
        if name.is_empty() || verbs.peek().is_none() {
            let shown =
                command.get_arguments().filter(|arg| !arg.is_hide_set() && (name.is_empty() || !arg.is_global_set()));
            let short = |arg: &clap::Arg| arg.get_short().map(|letter| letter.to_string());
            let long = |arg: &clap::Arg| arg.get_long().map(|word| format!("-{word}"));
            let options = shown.flat_map(|arg| [short(arg), long(arg)]).flatten();
            found.insert(name.to_owned(), options.collect());
        }
        for verb in verbs {
            walk(verb, format!("{name} {}", verb.get_name()).trim(), found);
        }
    }
    let mut found = Options::new();
    walk(&command_line(), "", &mut found);
    // clap adds these when it parses.
    found.entry(String::new()).or_default().extend(["h", "-help", "V", "-version"].map(str::to_owned));
    found
}

/// The items of the manual: `.It Cm VERB…` begins a verb, `.It Fl x , Fl -long` is an option of it.
fn of_manual(text: &str) -> Options {
    let mut found = Options::from([(String::new(), BTreeSet::new())]);
    let mut verb = String::new();
    for line in text.lines().take_while(|line| *line != ".Sh CONFIGURATION") {
        if let Some(rest) = line.strip_prefix(".It Cm ") {
            let lower = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            verb = rest.split(' ').take_while(lower).collect::<Vec<_>>().join(" ");
            found.entry(verb.clone()).or_default();
        } else if let Some(rest) = line.strip_prefix(".It Fl ") {
            let options = rest.split(" , Fl ").filter_map(|option| option.split(' ').next());
            found.entry(verb.clone()).or_default().extend(options.map(str::to_owned));
        }
    }
    found
}

#[test]
fn the_manual_names_every_verb_and_option() {
    let manual = std::fs::read_to_string(tree("docs/man/runj.8")).unwrap();
    assert_eq!(of_manual(&manual), of_command_line());
}

/// With RUNJ_WRITE set (`make completions`) writes them.
#[test]
fn the_completions_are_those_of_the_command_line() {
    for (shell, name) in [(Shell::Bash, "runj.bash"), (Shell::Zsh, "_runj"), (Shell::Fish, "runj.fish")] {
        let mut expected = Vec::new();
        clap_complete::generate(shell, &mut command_line(), "runj", &mut expected);
        let path = tree("packaging/completions").join(name);
        if std::env::var_os("RUNJ_WRITE").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let present = std::fs::read(&path).unwrap_or_default();
        assert!(present == expected, "packaging/completions/{name} is out of date; run make completions");
    }
}
