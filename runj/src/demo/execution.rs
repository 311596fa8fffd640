//! What an image says of its execution → `config.json`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use nix::errno::Errno;
use serde_json::{Value, json};

use super::layout::{Configuration, Execution};
use crate::sys::beneath;
use crate::sys::mount::TargetKind;

/// How much of passwd(5) and group(5) is read.
const MAX_ACCOUNTS: u64 = 1 << 20;
const PATH: &str = "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// The program and its arguments: `command` stands for the image's Cmd.
///
/// # Errors
/// There is none.
pub fn arguments(image: &Configuration, command: &[String]) -> anyhow::Result<Vec<String>> {
    let Execution { entrypoint, cmd, .. } = image.config.clone().unwrap_or_default();
    let arguments = if command.is_empty() { cmd.unwrap_or_default() } else { command.to_vec() };
    let all: Vec<String> = entrypoint.unwrap_or_default().into_iter().chain(arguments).collect();
    ensure!(!all.is_empty(), "the image names no command; give one behind the directory");
    Ok(all)
}

/// The configuration of the unpacked image; makes its working directory where it lacks.
pub fn configuration(image: &Configuration, root: &Path, args: &[String]) -> anyhow::Result<Value> {
    let execution = image.config.clone().unwrap_or_default();
    let mut env = execution.env.unwrap_or_default();
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
    let cwd = execution.working_dir.filter(|directory| !directory.is_empty()).unwrap_or_else(|| "/".to_owned());
    ensure!(cwd.starts_with('/'), "WorkingDir {cwd}: is not absolute");
    let place = beneath::resolve(root, Path::new(&cwd)).context("WorkingDir")?;
    if place.missing > 0 {
        beneath::create(root, &place.path, TargetKind::Directory).context("WorkingDir")?;
    }
    let user = user(root, execution.user.as_deref().unwrap_or_default())?;
    let mut mounts = vec![json!({ "destination": "/dev", "type": "devfs", "source": "devfs" })];
    if image.os == "linux" {
        // Programs for Linux cannot do without; on FreeBSD these need its Linux modules.
        mounts.push(json!({ "destination": "/proc", "type": "linprocfs", "source": "linprocfs" }));
    }
    Ok(super::document(&json!({ "user": user, "args": args, "env": env, "cwd": cwd }), Path::new("root"), &mounts))
}

/// The user that `NAME[:GROUP]` (either may be a number) means in the image.
fn user(root: &Path, text: &str) -> anyhow::Result<Value> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let passwd = accounts(root, "etc/passwd")?;
    let groups = accounts(root, "etc/group")?;
    // passwd: name, password, uid, gid. group: name, password, gid, members.
    let entries = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4);
    let groups = || groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 3);
    let number = |text: &str| text.parse::<u32>().ok();
    let entry = entries().find(|fields| fields[0] == user).or_else(|| entries().find(|fields| fields[2] == user));
    let uid = entry.as_ref().map_or_else(|| number(user), |fields| number(fields[2]));
    let uid = uid.with_context(|| format!("User {text}: {user} is not in the image's /etc/passwd"))?;
    let gid = match group.filter(|group| !group.is_empty()) {
        Some(group) => {
            let found = groups().find(|fields| fields[0] == group).and_then(|fields| number(fields[2]));
            found
                .or_else(|| number(group))
                .with_context(|| format!("User {text}: {group} is not in the image's /etc/group"))?
        }
        None => entry.as_ref().and_then(|fields| number(fields[3])).unwrap_or(0),
    };
    let name = entry.as_ref().map_or("", |fields| fields[0]);
    let member = |fields: &Vec<&str>| fields.get(3).is_some_and(|members| members.split(',').any(|m| m == name));
    // A group that is named is the only one.
    let further = groups().filter(|fields| group.is_none() && !name.is_empty() && member(fields));
    let further: Vec<u32> = further.filter_map(|fields| number(fields[2])).filter(|id| *id != gid).collect();
    Ok(json!({ "uid": uid, "gid": gid, "additionalGids": further }))
}

/// A file of accounts; empty if there is none. The image may have put anything there.
fn accounts(root: &Path, name: &str) -> anyhow::Result<String> {
    let read = || {
        let place = beneath::resolve(root, Path::new(name))?;
        if place.kind != Some(TargetKind::File) {
            return Ok(None);
        }
        beneath::open(root, &place.path).map(Some)
    };
    let file = match read() {
        Ok(Some(file)) => File::from(file),
        Ok(None) => return Ok(String::new()),
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    ensure!(file.metadata()?.is_file(), "{name}: is no regular file");
    let mut text = Vec::new();
    file.take(MAX_ACCOUNTS).read_to_end(&mut text).with_context(|| name.to_owned())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:*:0:0:Charlie:/root:/bin/sh\nweb:*:80:81::/srv:/bin/sh\nbroken\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.path().join("etc/group"), "wheel:*:0:root\nwww:*:81:\nlog:*:90:root,web\nmail:*:6:web\n")
            .unwrap();
        root
    }

    #[rstest]
    #[case("", 0, 0, &[90])]
    #[case("web", 80, 81, &[90, 6])]
    #[case("80", 80, 81, &[90, 6])]
    #[case("web:mail", 80, 6, &[])]
    #[case("web:7", 80, 7, &[])]
    #[case("1000", 1000, 0, &[])]
    #[case("1000:1001", 1000, 1001, &[])]
    fn users(#[case] text: &str, #[case] uid: u32, #[case] gid: u32, #[case] further: &[u32]) {
        let expected = json!({ "uid": uid, "gid": gid, "additionalGids": further });
        assert_eq!(user(root().path(), text).unwrap(), expected);
    }

    #[rstest]
    #[case("nobody", "User nobody: nobody is not in the image's /etc/passwd")]
    #[case("web:staff", "User web:staff: staff is not in the image's /etc/group")]
    fn users_that_are_not_there(#[case] text: &str, #[case] words: &str) {
        assert_eq!(user(root().path(), text).unwrap_err().to_string(), words);
    }

    #[test]
    fn accounts_are_those_of_the_image() {
        let root = root();
        std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/group", root.path().join("etc/passwd")).unwrap();
        assert!(accounts(root.path(), "etc/passwd").unwrap().starts_with("wheel:*:0:root\nwww"));
        std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
        nix::unistd::mkfifo(&root.path().join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(accounts(root.path(), "etc/passwd").is_err());
    }
}
