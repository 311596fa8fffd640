//! What a hook gets: one JSON line for each call, appended to a file.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::outcome::{Args, Attempt, Check, Outcome};
use crate::sys;

pub const CHECKS: &[Check] =
    &[Check { name: "hook", usage: "NAME FILE", about: "records argv, environment, state and place", run: hook }];

fn hook(args: &Args) -> Outcome {
    let mut state = String::new();
    std::io::stdin().read_to_string(&mut state).attempt("the state on stdin")?;
    let root = fs::metadata("/").map(|root| format!("{}:{}", root.dev(), root.ino())).unwrap_or_default();
    let link =
        |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).map(|path| path.to_string_lossy().into_owned());
    let record = json!({
        "hook": args.text(0)?,
        "pid": std::process::id(),
        "argv": args.list,
        "env": sys::environment(),
        "state": serde_json::from_str(&state).unwrap_or(Value::String(state)),
        "cwd": std::env::current_dir().unwrap_or_default(),
        "root": root,
        "hostname": nix::unistd::gethostname().unwrap_or_default().to_string_lossy(),
        "mountNamespace": link("mnt").unwrap_or_default(),
    });
    let path = args.text(1)?;
    let mut file = OpenOptions::new().append(true).create(true).open(path).attempt(path)?;
    // One write, so that lines of hooks that run at once do not mix.
    file.write_all(format!("{record}\n").as_bytes()).attempt(path)
}
