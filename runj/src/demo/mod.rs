//! Things to try runj with: a sample configuration, a bundle that runs at once, FreeBSD's own file systems and images.
//!
//! What fetches and what reads archives is in the feature `demo`; nothing of it is used by the rest.

#[cfg(feature = "demo")]
mod archive;
#[cfg(feature = "demo")]
pub mod download;
#[cfg(feature = "demo")]
mod execution;
#[cfg(feature = "demo")]
pub mod http;
#[cfg(feature = "demo")]
pub mod image;
#[cfg(feature = "demo")]
mod layout;
#[cfg(feature = "demo")]
pub mod platform;
#[cfg(feature = "demo")]
pub mod progress;
#[cfg(feature = "demo")]
pub mod stream;
#[cfg(feature = "demo")]
pub mod unpack;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use fs_err as fs;
use serde_json::{Value, json};

/// Applets of busybox that get a name of their own.
const APPLETS: &[&str] = &[
    "[", "ash", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "dmesg", "du", "echo",
    "env", "expr", "false", "find", "grep", "head", "hostname", "id", "ifconfig", "ip", "kill", "ln", "ls", "mkdir",
    "mknod", "mount", "mv", "nc", "ping", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "route", "sed", "seq",
    "sh", "sleep", "sort", "stat", "stty", "sync", "tail", "tar", "tee", "test", "top", "touch", "tr", "true", "tty",
    "umount", "uname", "uniq", "vi", "wc", "which", "whoami", "xargs",
];

/// Writes a sample `config.json`; one that is there is left alone.
pub fn write_spec(directory: &Path, root: &Path, args: &[String]) -> anyhow::Result<()> {
    let path = directory.join("config.json");
    ensure!(!path.exists(), "{}: exists; remove it first", path.display());
    let process = json!({
        "user": { "uid": 0, "gid": 0 },
        "args": args,
        "env": ["PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=xterm"],
        "cwd": "/"
    });
    let mounts = [
        json!({ "destination": "/dev", "type": "devfs", "source": "devfs" }),
        json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777", "size=64m"] }),
    ];
    write_document(directory, &document(&process, root, &mounts))
}

/// A configuration with the host's network.
fn document(process: &Value, root: &Path, mounts: &[Value]) -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": process,
        "root": { "path": root },
        "hostname": "runj",
        "mounts": mounts,
        "freebsd": { "jail": { "ip4": "inherit", "ip6": "inherit" } }
    })
}

fn write_document(directory: &Path, document: &Value) -> anyhow::Result<()> {
    Ok(fs::write(directory.join("config.json"), serde_json::to_string_pretty(document)? + "\n")?)
}

/// Makes a bundle of a root file system: an archive is unpacked into it, a directory is used where it is.
///
/// # Errors
/// The bundle exists; the archive is damaged or would leave the bundle. Nothing of the bundle is left then.
#[cfg(feature = "demo")]
pub fn write_bundle_of(
    directory: &Path,
    rootfs: &Path,
    command: &[String],
    limit: u64,
    style: progress::Style,
) -> anyhow::Result<unpack::LeftOut> {
    let shell = ["sh".to_owned()];
    let command = if command.is_empty() { &shell } else { command };
    let staged = unpack::Staged::new(directory)?;
    if rootfs.is_dir() {
        write_spec(staged.path(), &fs::canonicalize(rootfs)?, command)?;
        staged.commit()?;
        return Ok(unpack::LeftOut::default());
    }
    let root = staged.path().join("root");
    fs::create_dir(&root)?;
    write_spec(staged.path(), Path::new("root"), command)?;
    let mut unpacker = unpack::Unpacker::base(&root, crate::sys::tree::Owners::Given)?;
    let file = fs::File::open(rootfs)?.into_parts().0;
    let total = file.metadata()?.len();
    let mut progress = progress::Progress::new("unpack", style, 0, Some(total));
    let input = stream::Watched { inner: file, progress: &mut progress };
    let unpacked = stream::decompressed(input, limit, |tar| unpacker.unpack(tar));
    unpacked.with_context(|| rootfs.display().to_string())?;
    progress.end();
    let left = unpacker.finish()?;
    staged.commit()?;
    Ok(left)
}

/// Makes a bundle of an image.
///
/// # Errors
/// It is no image, none for this machine, damaged, or would leave the bundle. Nothing of the bundle is left then.
#[cfg(feature = "demo")]
pub fn write_bundle_of_image(
    directory: &Path,
    image: &Path,
    name: Option<&str>,
    command: &[String],
    limit: u64,
    style: progress::Style,
) -> anyhow::Result<unpack::LeftOut> {
    let staged = unpack::Staged::new(directory)?;
    let root = staged.path().join("root");
    fs::create_dir(&root)?;
    let opened = layout::Image::open(image, staged.path(), name, limit)?;
    let (for_, here) = (&opened.configuration.architecture, platform::oci_architecture(std::env::consts::ARCH)?.0);
    if !for_.is_empty() && for_ != here {
        log::warn!("{}: is for {for_}, and this machine is {here}: its programs may not run", image.display());
    }
    let args = execution::arguments(&opened.configuration, command)?;
    let mut unpacker = unpack::Unpacker::layers(&root, crate::sys::tree::Owners::Given)?;
    opened.unpack(&mut unpacker, limit, style).with_context(|| image.display().to_string())?;
    write_document(staged.path(), &execution::configuration(&opened.configuration, &root, &args)?)?;
    let left = unpacker.finish()?;
    staged.commit()?;
    Ok(left)
}

/// Makes a bundle of static programs of this host; returns what it holds.
pub fn write_bundle(directory: &Path, command: &[String]) -> anyhow::Result<String> {
    ensure!(!directory.exists(), "{}: exists; remove it first", directory.display());
    let root = directory.join("root");
    for name in ["bin", "dev", "etc", "tmp", "root", "proc"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::write(root.join("etc/passwd"), "root:*:0:0::/root:/bin/sh\nnobody:*:65534:65534::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "wheel:*:0:root\nnobody:*:65534:\n")?;
    let (tools, default) = fill(&root.join("bin"))?;
    let command = if command.is_empty() { default } else { command.to_vec() };
    write_spec(directory, Path::new("root"), &command)?;
    Ok(tools)
}

/// Copies static programs into `bin`; returns what they are and a command that they can run.
fn fill(bin: &Path) -> anyhow::Result<(String, Vec<String>)> {
    let shell = || vec!["sh".to_owned()];
    let rescue = Path::new("/rescue/rescue");
    if rescue.exists() {
        // One program under many names.
        let first = bin.join("rescue");
        fs::copy(rescue, &first)?;
        for entry in fs::read_dir("/rescue")? {
            let name = entry?.file_name();
            if name != "rescue" {
                fs::hard_link(&first, bin.join(name))?;
            }
        }
        return Ok(("the static tools of /rescue".to_owned(), shell()));
    }
    for busybox in ["/bin/busybox", "/usr/bin/busybox"].map(Path::new) {
        if is_static(busybox) {
            fs::copy(busybox, bin.join("busybox"))?;
            for applet in APPLETS {
                symlink("busybox", bin.join(applet)).with_context(|| format!("{}/{applet}", bin.display()))?;
            }
            return Ok((format!("the static {}", busybox.display()), shell()));
        }
    }
    let helper = helper()?;
    fs::copy(&helper, bin.join("integ-inside"))?;
    fs::set_permissions(bin.join("integ-inside"), PermissionsExt::from_mode(0o755))?;
    Ok((format!("{}, and no shell", helper.display()), vec!["integ-inside".to_owned(), "hello".to_owned()]))
}

/// The static helper of this project, beside the program that runs.
fn helper() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the running program")?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    let candidates = [directory.join("integ-inside"), directory.join("../libexec/runj/integ-inside")];
    match candidates.iter().find(|path| is_static(path)) {
        Some(path) => Ok(path.clone()),
        None => bail!(
            "no static programs to make a root file system of: neither /rescue, nor a static busybox \
             (Debian: busybox-static), nor {}",
            candidates[0].display()
        ),
    }
}

/// Whether the file is an ELF program of 64 bits that needs no interpreter (elf(5): no `PT_INTERP`).
fn is_static(path: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let Ok(bytes) = fs::read(path) else { return false };
    let number = |at: usize, size: usize| -> Option<u64> {
        let mut word = [0; 8];
        word.get_mut(..size)?.copy_from_slice(bytes.get(at..at + size)?);
        Some(u64::from_le_bytes(word))
    };
    let headers = || -> Option<(usize, usize, usize)> {
        (bytes.get(..6)? == b"\x7fELF\x02\x01").then_some(())?;
        let parts = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        Some((parts.0.try_into().ok()?, parts.1.try_into().ok()?, parts.2.try_into().ok()?))
    };
    headers().is_some_and(|(offset, size, count)| {
        (0..count).all(|index| number(offset + index * size, 4).is_some_and(|kind| kind != u64::from(PT_INTERP)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::plan::{Place, Plan, facts};

    #[test]
    fn the_sample_is_valid_on_both_systems() {
        let dir = tempfile::tempdir().unwrap();
        write_spec(dir.path(), Path::new("root"), &["sh".to_owned()]).unwrap();
        let config = Config::parse(&fs::read(dir.path().join("config.json")).unwrap(), None).unwrap();
        let place = Place { bundle: dir.path(), root: dir.path() };
        for facts in [facts::freebsd14(), facts::linux()] {
            Plan::new(&config, place, &"demo".parse().unwrap(), &facts).unwrap();
        }
        assert!(write_spec(dir.path(), Path::new("root"), &[]).is_err());
    }

    #[test]
    fn a_script_is_no_static_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(!is_static(&path));
        assert!(!is_static(&dir.path().join("missing")));
    }
}
