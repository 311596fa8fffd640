//! What earlier runs left behind because they were killed. Swept before the first test of a program.

use std::fs;
use std::path::Path;
use std::sync::Once;

/// What every name that the harness makes begins with; then comes the pid of its maker.
pub const MARK: &str = "integ-";

/// Sweeps, the first time.
pub fn once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sweep);
}

/// The pid in a marked name.
fn owner(name: &str) -> Option<i32> {
    name.strip_prefix(MARK)?.split('-').next()?.parse().ok()
}

/// Whether the maker of this name is gone.
fn is_stale(name: &str) -> bool {
    owner(name).is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err())
}

fn sweep() {
    system();
    directories(&std::env::temp_dir());
}

/// Removes the directories of tests whose first process is gone.
pub fn directories(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_stale(&entry.file_name().to_string_lossy()) {
            remove_directory(&entry.path());
        }
    }
}

/// Removes a test's directory, unless something is still mounted below it.
pub fn remove_directory(dir: &Path) {
    if mounted_below(dir).is_empty() {
        let _ = fs::remove_dir_all(dir);
    } else {
        eprintln!("{}: something is mounted below: not removed", dir.display());
    }
}

fn mounted_below(dir: &Path) -> Vec<String> {
    let mounts = crate::leaks::mounts();
    mounts.into_iter().filter(|line| Path::new(line.split(' ').next().unwrap_or_default()).starts_with(dir)).collect()
}

/// On Linux all but cgroups ends with the processes of the test.
#[cfg(target_os = "linux")]
fn system() {
    // What has processes belongs to somebody.
    let _ = remove_groups(&is_stale);
}

/// Removes the cgroups of this name and those below them, when their processes have ended; false if one does not.
#[cfg(target_os = "linux")]
pub fn cgroups(name: &str) -> bool {
    let end = std::time::Instant::now() + crate::wait::seconds(5);
    while !remove_groups(&|found| found == name) {
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    true
}

/// Removes the cgroups whose names are chosen, with those below them; false if one has processes.
#[cfg(target_os = "linux")]
fn remove_groups(chosen: &dyn Fn(&str) -> bool) -> bool {
    fn below(directory: &Path, depth: u32, inside: bool, chosen: &dyn Fn(&str) -> bool) -> bool {
        let mut all = true;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let remove = inside || chosen(&entry.file_name().to_string_lossy());
            if depth > 0 {
                all &= below(&entry.path(), depth - 1, remove, chosen);
            }
            all &= !remove || fs::remove_dir(entry.path()).is_ok();
        }
        all
    }
    below(Path::new("/sys/fs/cgroup"), 3, false, chosen)
}

#[cfg(not(target_os = "linux"))]
fn system() {
    use crate::{Program, locate};
    let lines = |program: &str, arguments: &[&str]| -> Vec<String> {
        let output = locate::program(program).map(|path| Program::new(path).args(arguments).run().stdout);
        let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
        text.split_whitespace().map(str::to_owned).collect()
    };
    for jail in lines("jls", &["name"]).iter().filter(|name| is_stale(name)) {
        Program::new("jail").args(["-r", jail]).run();
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if is_stale(&entry.file_name().to_string_lossy()) {
            for line in mounted_below(&entry.path()).iter().rev() {
                Program::new("umount").arg("-f").arg(line.split(' ').next().unwrap_or_default()).run();
            }
        }
    }
    crate::net::sweep();
}
