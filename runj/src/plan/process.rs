//! The program and what it is given. Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Problem, Process};
use crate::sys::jail::System;
use crate::sys::process::{Credentials, Rlimit};

/// Resource limits of FreeBSD (setrlimit(2)).
const FREEBSD_RLIMITS: &[&str] = &[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_KQUEUES",
    "RLIMIT_MEMLOCK",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_NPTS",
    "RLIMIT_PIPEBUF",
    "RLIMIT_RSS",
    "RLIMIT_SBSIZE",
    "RLIMIT_STACK",
    "RLIMIT_SWAP",
    "RLIMIT_UMTXP",
    "RLIMIT_VMEM",
];

/// Resource limits of Linux (setrlimit(2)).
const LINUX_RLIMITS: &[&str] = &[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

/// A program, ready to be run in a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessPlan {
    /// argv; never empty
    pub args: Vec<String>,
    /// Its whole environment, `NAME=value`; `HOME` is added from the container's passwd(5) where it lacks
    pub env: Vec<String>,
    /// Working directory
    pub cwd: PathBuf,
    /// Who it runs as
    pub user: Credentials,
    /// umask(2); unset is 0022, whatever the caller's is
    pub umask: Option<u16>,
    /// Limits
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Whether it gets a terminal
    pub terminal: bool,
    /// Rows and columns of the terminal
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<(u16, u16)>,
    /// Whether it may gain privileges by executing
    #[serde(default)]
    pub no_new_privileges: bool,
}

/// The program of a bundle.
pub fn plan_of_config(config: &Config, system: System, problems: &mut Vec<Problem>) -> ProcessPlan {
    match &config.process {
        Some(process) => plan(process, system, problems),
        None => {
            problems.push(Problem::new("process", "missing: there is nothing to run"));
            plan(&Process { args: vec![String::new()], cwd: "/".into(), ..Process::default() }, system, problems)
        }
    }
}

/// The program of a bundle or of `exec`.
pub fn plan(process: &Process, system: System, problems: &mut Vec<Problem>) -> ProcessPlan {
    let mut refuse = |property: String, message: &str| problems.push(Problem::new(property, message));
    if process.args.is_empty() {
        refuse("process.args".into(), "empty: there is nothing to run");
    }
    for (index, text) in process.args.iter().enumerate() {
        if text.contains('\0') {
            refuse(format!("process.args[{index}]"), "contains a NUL character");
        }
    }
    for (index, text) in process.env.iter().enumerate() {
        match text.split_once('=') {
            _ if text.contains('\0') => refuse(format!("process.env[{index}]"), "contains a NUL character"),
            None | Some(("", _)) => refuse(format!("process.env[{index}]"), "is not NAME=value"),
            Some(_) => {}
        }
    }
    if process.cwd.as_os_str().is_empty() {
        refuse("process.cwd".into(), "missing");
    } else if !process.cwd.is_absolute() {
        refuse("process.cwd".into(), "must be an absolute path");
    } else if process.cwd.as_os_str().as_encoded_bytes().contains(&0) {
        refuse("process.cwd".into(), "contains a NUL character");
    }
    let umask = process.umask.map(|bits| u16::try_from(bits).ok().filter(|bits| *bits <= 0o777));
    if umask == Some(None) {
        refuse("process.user.umask".into(), "more than permission bits (0777)");
    }
    let console_size = process
        .console_size
        .filter(|_| process.terminal)
        .map(|(height, width)| u16::try_from(height).ok().zip(u16::try_from(width).ok()));
    if console_size == Some(None) {
        refuse("process.consoleSize".into(), "larger than 65535");
    }
    ProcessPlan {
        args: process.args.clone(),
        env: process.env.clone(),
        cwd: process.cwd.clone(),
        user: Credentials { uid: process.uid, gid: process.gid, groups: process.groups.clone() },
        umask: umask.flatten(),
        rlimits: rlimits(process, system, problems),
        terminal: process.terminal,
        console_size: console_size.flatten(),
        no_new_privileges: process.no_new_privileges,
    }
}

fn rlimits(process: &Process, system: System, problems: &mut Vec<Problem>) -> Vec<Rlimit> {
    let known = match system {
        System::Freebsd => FREEBSD_RLIMITS,
        System::Linux => LINUX_RLIMITS,
    };
    let mut list: Vec<Rlimit> = Vec::with_capacity(process.rlimits.len());
    let mut seen = BTreeSet::new();
    for (index, entry) in process.rlimits.iter().enumerate() {
        let property = format!("process.rlimits[{index}]");
        if !known.contains(&entry.name.as_str()) {
            problems.push(Problem::new(format!("{property}.type"), format!("this system has no {:?}", entry.name)));
        }
        if !seen.insert(&entry.name) {
            problems.push(Problem::new(format!("{property}.type"), format!("{} stands twice", entry.name)));
        }
        if entry.soft > entry.hard {
            problems.push(Problem::new(property, format!("soft {} is above hard {}", entry.soft, entry.hard)));
        }
        list.push(Rlimit { name: entry.name.clone(), soft: entry.soft, hard: entry.hard });
    }
    list
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::plan_text;

    fn problems(process: &str) -> String {
        let text = format!(r#"{{"ociVersion":"1.3.0","root":{{"path":"root"}},"process":{process}}}"#);
        plan_text(&text, &facts::freebsd14()).unwrap_err().to_string()
    }

    #[rstest]
    #[case("null", "process: missing")]
    #[case(r#"{"cwd":"/"}"#, "process.args: empty")]
    #[case(r#"{"args":["a"]}"#, "process.cwd: missing")]
    #[case(r#"{"args":["a"],"cwd":"tmp"}"#, "process.cwd: must be an absolute path")]
    #[case(r#"{"args":["a\u0000"],"cwd":"/"}"#, "process.args[0]: contains a NUL")]
    #[case(r#"{"args":["a"],"cwd":"/","env":["PATH"]}"#, "process.env[0]: is not NAME=value")]
    #[case(r#"{"args":["a"],"cwd":"/","user":{"umask":4096}}"#, "process.user.umask")]
    #[case(r#"{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_NICE","soft":1,"hard":1}]}"#, "no \"RLIMIT_NICE\"")]
    #[case(r#"{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_CPU","soft":2,"hard":1}]}"#, "soft 2 is above hard 1")]
    #[case(
        r#"{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_CPU","soft":1,"hard":1},{"type":"RLIMIT_CPU","soft":1,"hard":1}]}"#,
        "rlimits[1].type: RLIMIT_CPU stands twice"
    )]
    #[case(
        r#"{"args":["a"],"cwd":"/","terminal":true,"consoleSize":{"height":70000,"width":1}}"#,
        "process.consoleSize"
    )]
    fn bad_processes(#[case] process: &str, #[case] message: &str) {
        let error = problems(process);
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_size_without_terminal_is_ignored() {
        let text = r#"{"ociVersion":"1.3.0","root":{"path":"root"},
            "process":{"args":["a"],"cwd":"/","consoleSize":{"height":70000,"width":1}}}"#;
        assert_eq!(plan_text(text, &facts::freebsd14()).unwrap().process.console_size, None);
    }
}
