//! The cpuset controller, whose groups are confined by their parents too: version 1 refuses a process in a group to which
//! nobody gave processors and memory, version 2 quietly leaves out what the parents lack.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use super::cgroup::{Layout, failed, layout};
use crate::sys::processors::Processors;
use crate::sys::{Result, SysError};

const ONLINE: &str = "/sys/devices/system/cpu/online";

fn read(path: &Path) -> Option<Processors> {
    fs::read_to_string(path).ok()?.parse().ok()
}

/// The processors of the topmost group, which may be a container's own, or of the machine.
pub(super) fn processors() -> Result<Processors> {
    let top = match layout() {
        Some(Layout::Unified(root)) => read(&root.join("cpuset.cpus.effective")),
        Some(layout) => layout.directory("cpuset", Path::new("")).and_then(|tree| read(&tree.join("cpuset.cpus"))),
        None => None,
    };
    top.or_else(|| read(Path::new(ONLINE)))
        .ok_or_else(|| SysError::with_message("processors", Errno::EIO, format!("{ONLINE} has no list of them")))
}

/// Version 1: gives a new group, and those above it, what its parent has.
pub(super) fn inherit(layout: &Layout, group: &Path) -> Result<()> {
    let Layout::Split(_) = layout else { return Ok(()) };
    let Some(tree) = layout.directory("cpuset", Path::new("")) else { return Ok(()) };
    let mut parts: Vec<_> = group.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    parts.reverse();
    for directory in parts.into_iter().map(|part| tree.join(part)) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let path = directory.join(file);
            if fs::read_to_string(&path).map_err(failed(&path))?.trim().is_empty() {
                let above = directory.parent().unwrap_or(&tree).join(file);
                let text = fs::read_to_string(&above).map_err(failed(&above))?;
                fs::write(&path, text.trim()).map_err(failed(&path))?;
            }
        }
    }
    Ok(())
}

/// What is written into `cpuset.cpus` to lift its limit.
pub(super) fn lifted(layout: &Layout) -> Result<String> {
    match layout {
        Layout::Unified(_) => Ok("\n".to_owned()),
        Layout::Split(_) => Ok(processors()?.to_string()),
    }
}

/// Version 2: whether the group got what it was given.
pub(super) fn verify(layout: &Layout, group: &Path, wanted: &Processors) -> Result<()> {
    let Layout::Unified(root) = layout else { return Ok(()) };
    let path = root.join(group).join("cpuset.cpus.effective");
    match read(&path) {
        Some(effective) if effective == *wanted => Ok(()),
        effective => {
            let has = effective.unwrap_or_default();
            let words = format!("the cgroup gets {has}: the groups above it have no more");
            Err(SysError::with_message(format!("processors {wanted}"), Errno::EINVAL, words))
        }
    }
}
