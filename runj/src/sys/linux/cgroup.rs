//! Limits by cgroups, version 1 and 2, where they can be written.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statfs::{FsType, statfs};

use super::cpuset;
use super::registry::errno;
use crate::sys::examination::Cgroups;
use crate::sys::limit::Limits;
use crate::sys::{Result, SysError};

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// How long a cgroup may stay busy with the dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a limit cannot be applied to a container without a cgroup.
const UNNAMED: &str = "a limit needs a cgroup, and none is named (linux.cgroupsPath)";

/// The controller, its file, what is written into it.
type Setting = (&'static str, &'static str, String);

/// How cgroups are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One tree.
    Unified(PathBuf),
    /// One tree for each of these controllers.
    Split(Vec<(&'static str, PathBuf)>),
}

/// The controllers that carry limits.
const LIMITING: [&str; 4] = ["memory", "pids", "cpu", "cpuset"];

/// Those that carry figures.
const COUNTING: [&str; 2] = ["cpuacct", "blkio"];

/// How they are mounted here; none if they are not.
pub(super) fn layout() -> Option<Layout> {
    let root = Path::new(ROOT);
    if statfs(root).ok()?.filesystem_type() == FsType(0x6367_7270) {
        return Some(Layout::Unified(root.to_owned()));
    }
    let trees: Vec<_> = LIMITING
        .into_iter()
        .chain(COUNTING)
        .map(|name| (name, root.join(name)))
        .filter(|(_, tree)| tree.join("cgroup.procs").exists())
        .collect();
    (!trees.is_empty()).then_some(Layout::Split(trees))
}

/// What `doctor` says of them.
pub fn examine() -> Option<Cgroups> {
    let layout = layout()?;
    let missing = match &layout {
        Layout::Unified(root) => {
            let known = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            LIMITING.into_iter().filter(|name| !known.split_whitespace().any(|word| word == *name)).collect()
        }
        Layout::Split(trees) => {
            LIMITING.into_iter().filter(|name| !trees.iter().any(|(known, _)| known == name)).collect()
        }
    };
    let version = if matches!(layout, Layout::Unified(_)) { 2 } else { 1 };
    Some(Cgroups { version, writable: is_available(), missing })
}

/// Whether cgroups can be made.
pub fn is_available() -> bool {
    layout().is_some_and(|layout| {
        layout.trees().iter().all(|tree| nix::unistd::access(*tree, nix::unistd::AccessFlags::W_OK).is_ok())
    })
}

impl Layout {
    fn trees(&self) -> Vec<&Path> {
        match self {
            Self::Unified(root) => vec![root],
            Self::Split(trees) => trees.iter().map(|(_, tree)| tree.as_path()).collect(),
        }
    }

    /// What is written where for the limits.
    fn settings(&self, limits: &Limits) -> Vec<Setting> {
        let unified = matches!(self, Self::Unified(_));
        let mut list = Vec::new();
        if let Some(memory) = limits.memory {
            list.push(("memory", if unified { "memory.max" } else { "memory.limit_in_bytes" }, memory.to_string()));
        }
        if let (Some(both), Some(swap)) = (limits.swap, limits.swap_beside_memory()) {
            list.push(match unified {
                true => ("memory", "memory.swap.max", swap.to_string()),
                false => ("memory", "memory.memsw.limit_in_bytes", both.to_string()),
            });
        }
        if let Some(pids) = limits.pids {
            list.push(("pids", "pids.max", pids.to_string()));
        }
        if let Some((quota, period)) = limits.cpu {
            if unified {
                list.push(("cpu", "cpu.max", format!("{quota} {period}")));
            } else {
                list.push(("cpu", "cpu.cfs_period_us", period.to_string()));
                list.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
            }
        }
        if let Some(processors) = &limits.processors {
            list.push(("cpuset", "cpuset.cpus", processors.to_string()));
        }
        list
    }

    /// What lifts the limits that `new` lacks.
    fn lifted(&self, old: &Limits, new: &Limits) -> Vec<Setting> {
        let unified = matches!(self, Self::Unified(_));
        let mut list = Vec::new();
        if unified && old.swap.is_some() && new.swap.is_none() {
            list.push(("memory", "memory.swap.max", "max".to_owned()));
        }
        // At no time may it be less than the memory's.
        if !unified && old.swap.is_some() && old.swap != new.swap {
            list.push(("memory", "memory.memsw.limit_in_bytes", "-1".to_owned()));
        }
        if old.memory.is_some() && new.memory.is_none() {
            let setting = if unified { ("memory.max", "max") } else { ("memory.limit_in_bytes", "-1") };
            list.push(("memory", setting.0, setting.1.to_owned()));
        }
        if old.pids.is_some() && new.pids.is_none() {
            list.push(("pids", "pids.max", "max".to_owned()));
        }
        if old.cpu.is_some() && new.cpu.is_none() {
            let setting = if unified { ("cpu.max", "max") } else { ("cpu.cfs_quota_us", "-1") };
            list.push(("cpu", setting.0, setting.1.to_owned()));
        }
        list
    }

    /// The directory of a controller.
    pub(super) fn directory(&self, controller: &str, group: &Path) -> Option<PathBuf> {
        match self {
            Self::Unified(root) => Some(root.join(group)),
            Self::Split(trees) => trees.iter().find(|(name, _)| *name == controller).map(|(_, tree)| tree.join(group)),
        }
    }
}

/// The cgroup below the mounts, never above.
pub(super) fn group(limits: &Limits) -> Result<Option<PathBuf>> {
    let Some(path) = &limits.cgroup else { return Ok(None) };
    let below: PathBuf = path.components().filter(|part| !matches!(part, Component::RootDir)).collect();
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || below.as_os_str().is_empty() {
        return Err(refused(path, Errno::EINVAL, "not a path below the cgroup mount"));
    }
    Ok(Some(below))
}

fn refused(path: &Path, errno: Errno, words: &str) -> SysError {
    SysError::with_message(format!("cgroup {}", path.display()), errno, words)
}

pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> SysError {
    let operation = format!("cgroup {}", path.display());
    move |error| SysError::new(operation.clone(), errno(&error))
}

/// The directories of the cgroup that do not exist, parents first.
pub fn missing(limits: &Limits) -> Result<Vec<PathBuf>> {
    let (Some(group), Some(layout)) = (group(limits)?, layout()) else { return Ok(Vec::new()) };
    let below = |tree: &&Path| {
        let tree = tree.to_path_buf();
        let mut parts: Vec<_> = group.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
        parts.reverse();
        parts.into_iter().map(move |part| tree.join(part)).collect::<Vec<_>>()
    };
    Ok(layout.trees().iter().flat_map(below).filter(|directory| !directory.exists()).collect())
}

/// Makes the cgroup, unless it is there, and sets its limits.
pub fn add(limits: &Limits) -> Result<()> {
    check_rules(limits)?;
    let Some(group) = group(limits)? else {
        return if limits.is_empty() {
            Ok(())
        } else {
            Err(SysError::with_message(property(limits), Errno::EINVAL, UNNAMED))
        };
    };
    let Some(layout) = layout() else {
        if (Limits { cgroup: None, ..limits.clone() }).is_empty() {
            log::info!("cgroup {} is left out: no cgroup is mounted", group.display());
            return Ok(());
        }
        let words = format!("no writable cgroup below {ROOT}");
        return Err(SysError::with_message(property(limits), Errno::EOPNOTSUPP, words));
    };
    for tree in layout.trees() {
        let directory = tree.join(&group);
        fs::create_dir_all(&directory).map_err(failed(&directory))?;
    }
    cpuset::inherit(&layout, &group)?;
    apply(&layout, &group, layout.settings(limits), limits)
}

fn apply(layout: &Layout, group: &Path, settings: Vec<Setting>, limits: &Limits) -> Result<()> {
    if let Layout::Unified(root) = layout {
        delegate(root, group, limits.processors.is_some());
    }
    write(layout, group, settings)?;
    limits.processors.as_ref().map_or(Ok(()), |processors| cpuset::verify(layout, group, processors))
}

fn write(layout: &Layout, group: &Path, settings: Vec<Setting>) -> Result<()> {
    for (controller, file, text) in settings {
        let directory = layout.directory(controller, group).filter(|directory| directory.join(file).exists());
        let Some(directory) = directory else {
            let words = format!("the {controller} controller is not available, or has no {file} here");
            return Err(SysError::with_message(format!("{controller} limit"), Errno::EOPNOTSUPP, words));
        };
        let path = directory.join(file);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Writes other limits into the cgroup, which is there.
pub fn replace(old: &Limits, new: &Limits) -> Result<()> {
    check_rules(new)?;
    let Some(group) = group(new)? else {
        return Err(SysError::with_message(property(new), Errno::EINVAL, UNNAMED));
    };
    let Some(layout) = layout() else {
        return Err(SysError::with_message(
            property(new),
            Errno::EOPNOTSUPP,
            format!("no writable cgroup below {ROOT}"),
        ));
    };
    let mut lifted = layout.lifted(old, new);
    if old.processors.is_some() && new.processors.is_none() {
        lifted.push(("cpuset", "cpuset.cpus", cpuset::lifted(&layout)?));
    }
    write(&layout, &group, lifted)?;
    apply(&layout, &group, layout.settings(new), new)
}

fn check_rules(limits: &Limits) -> Result<()> {
    if limits.rules.is_empty() {
        return Ok(());
    }
    let rules: Vec<String> = limits.rules.iter().map(ToString::to_string).collect();
    let words = "Linux has no rctl; use memory, pids, cpu or processors";
    Err(SysError::with_message(format!("rctl {}", rules.join(" ")), Errno::EOPNOTSUPP, words))
}

/// Version 2: hands the controllers down to the group's parents. Where that cannot be, the limit's file is missing,
/// which is reported by its name.
fn delegate(root: &Path, group: &Path, processors: bool) {
    let parents: Vec<_> = group.ancestors().skip(1).collect();
    for parent in parents.into_iter().rev() {
        let controllers = ["memory", "pids", "cpu", "io"].into_iter().chain(processors.then_some("cpuset"));
        for controller in controllers {
            let _ = fs::write(root.join(parent).join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

/// The limit that an error is about.
fn property(limits: &Limits) -> &'static str {
    match limits {
        Limits { memory: Some(_), .. } => "memory limit",
        Limits { pids: Some(_), .. } => "pids limit",
        Limits { cpu: Some(_), .. } => "cpu limit",
        _ => "cpuset limit",
    }
}

/// Puts the calling process into the cgroup.
pub fn join(limits: &Limits) -> Result<()> {
    let Some(group) = group(limits)? else { return Ok(()) };
    let Some(layout) = layout() else { return Ok(()) };
    for tree in layout.trees() {
        let path = tree.join(&group).join("cgroup.procs");
        fs::write(&path, "0").map_err(failed(&path))?;
    }
    Ok(())
}

/// Removes the cgroup and those below it; absence is success. Its processes are dead by then, but the kernel may
/// need a moment to see it. Of what else was made for it, that which holds no other cgroup goes too.
pub fn remove(limits: &Limits, made: &[PathBuf]) -> Result<()> {
    let Some(group) = group(limits)? else { return Ok(()) };
    let Some(layout) = layout() else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    for tree in layout.trees() {
        let directory = tree.join(&group);
        loop {
            match remove_tree(&directory) {
                Ok(()) => break,
                Err(error) if errno(&error) == Errno::EBUSY && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(failed(&directory)(error)),
            }
        }
    }
    for directory in made.iter().rev() {
        match fs::remove_dir(directory) {
            Ok(()) => {}
            Err(error) if matches!(errno(&error), Errno::ENOENT | Errno::EBUSY | Errno::ENOTEMPTY) => {}
            Err(error) => return Err(failed(directory)(error)),
        }
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/machine/a", Some("machine/a"))]
    #[case("/", None)]
    #[case("/../a", None)]
    #[case("a/../../b", None)]
    fn groups_lie_below_the_mount(#[case] path: &str, #[case] expected: Option<&str>) {
        let limits = Limits { cgroup: Some(path.into()), ..Limits::default() };
        assert_eq!(group(&limits).ok().flatten().as_deref(), expected.map(Path::new));
    }

    #[test]
    fn limits_have_files() {
        let processors = Some("0-1".parse().unwrap());
        let limits = Limits {
            memory: Some(1),
            swap: Some(6),
            pids: Some(2),
            cpu: Some((3, 4)),
            processors,
            ..Limits::default()
        };
        let files = |layout: Layout| {
            layout.settings(&limits).into_iter().map(|(_, file, text)| format!("{file}={text}")).collect::<Vec<_>>()
        };
        assert_eq!(
            files(Layout::Unified(ROOT.into())),
            ["memory.max=1", "memory.swap.max=5", "pids.max=2", "cpu.max=3 4", "cpuset.cpus=0-1"]
        );
        let lifted = |layout: Layout| {
            layout
                .lifted(&limits, &Limits::default())
                .into_iter()
                .map(|(_, file, text)| format!("{file}={text}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lifted(Layout::Unified(ROOT.into())),
            ["memory.swap.max=max", "memory.max=max", "pids.max=max", "cpu.max=max"]
        );
        assert_eq!(
            lifted(Layout::Split(vec![])),
            ["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1", "pids.max=max", "cpu.cfs_quota_us=-1"]
        );
        assert_eq!(Layout::Split(vec![]).lifted(&limits, &limits), []);
        let split = [
            "memory.limit_in_bytes=1",
            "memory.memsw.limit_in_bytes=6",
            "pids.max=2",
            "cpu.cfs_period_us=4",
            "cpu.cfs_quota_us=3",
            "cpuset.cpus=0-1",
        ];
        assert_eq!(files(Layout::Split(vec![])), split);
    }

    #[test]
    fn what_cannot_be_applied_is_named() {
        let rules = Limits { rules: vec!["openfiles:deny=1".parse().unwrap()], ..Limits::default() };
        assert!(add(&rules).unwrap_err().to_string().contains("openfiles:deny=1"));
        let unnamed = Limits { pids: Some(1), ..Limits::default() };
        assert!(add(&unnamed).unwrap_err().to_string().starts_with("pids limit: "));
        assert_eq!(add(&Limits::default()), Ok(()));
        assert_eq!(missing(&Limits::default()), Ok(vec![]));
    }
}
