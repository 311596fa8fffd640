//! What is mounted, as seen from here.

use nix::sys::statvfs::statvfs;

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};

pub const CHECKS: &[Check] = &[
    Check { name: "mounts", usage: "[DIR]...", about: "exactly these are mount points, in any order", run: mounts },
    Check { name: "mounts-count", usage: "N", about: "so many mounts are seen", run: count },
    Check { name: "mounted", usage: "DIR TYPE [OPTION]...", about: "the topmost mount at DIR", run: mounted },
    Check { name: "not-mounted", usage: "DIR", about: "DIR is no mount point", run: not_mounted },
    Check { name: "fs-size", usage: "DIR BYTES", about: "the size of a file system, within a page", run: size },
];

/// One line of the mount table.
struct Mount {
    directory: String,
    kind: String,
    options: Vec<String>,
}

/// FreeBSD's getfsstat(2) needs nothing; Linux needs /proc.
#[cfg(target_os = "linux")]
fn table() -> Result<Vec<Mount>, Failure> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").attempt("a mount table: proc on /proc")?;
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let options = left.get(5)?.split(',').chain(right.get(2)?.split(',')).map(str::to_owned).collect();
        Some(Mount { directory: (*left.get(4)?).to_owned(), kind: (*right.first()?).to_owned(), options })
    };
    Ok(text.lines().filter_map(parse).collect())
}

#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
fn table() -> Result<Vec<Mount>, Failure> {
    use std::ffi::CStr;
    let wanted = |buffer: *mut libc::statfs, bytes: usize| {
        // SAFETY: a null buffer asks for the number; otherwise it has `bytes` bytes.
        let count = unsafe { libc::getfsstat(buffer, bytes as _, libc::MNT_NOWAIT) };
        usize::try_from(count).map_err(|_| std::io::Error::last_os_error())
    };
    let room = wanted(std::ptr::null_mut(), 0).attempt("getfsstat")? + 16;
    // SAFETY: all-zero is a valid statfs.
    let mut list: Vec<libc::statfs> = vec![unsafe { std::mem::zeroed() }; room];
    let count = wanted(list.as_mut_ptr(), room * size_of::<libc::statfs>()).attempt("getfsstat")?;
    list.truncate(count);
    let flags = [(libc::MNT_RDONLY, "ro"), (libc::MNT_NOSUID, "nosuid"), (libc::MNT_NOEXEC, "noexec")];
    Ok(list
        .iter()
        .map(|entry| {
            // SAFETY: the kernel ends both names with a NUL.
            let text = |name: &[libc::c_char]| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
            let options = flags.iter().filter(|(flag, _)| entry.f_flags & *flag as u64 != 0);
            Mount {
                directory: text(&entry.f_mntonname),
                kind: text(&entry.f_fstypename),
                options: options.map(|(_, name)| (*name).to_owned()).collect(),
            }
        })
        .collect())
}

fn mounts(args: &Args) -> Outcome {
    let mut got: Vec<String> = table()?.into_iter().map(|mount| mount.directory).collect();
    got.sort();
    same(args.sorted(), got)
}

fn count(args: &Args) -> Outcome {
    same(args.value::<usize>(0)?, table()?.len())
}

fn mounted(args: &Args) -> Outcome {
    let (directory, kind) = (args.text(0)?, args.text(1)?);
    let table = table()?;
    let found = table.iter().rev().find(|mount| mount.directory == directory);
    let found = found.ok_or_else(|| Failure::differs(format!("{kind} on {directory}"), "not mounted"))?;
    same(kind, found.kind.as_str())?;
    match args.list.iter().skip(2).find(|option| !found.options.contains(option)) {
        None => Ok(()),
        Some(missing) => Err(Failure::differs(missing, found.options.join(","))),
    }
}

fn not_mounted(args: &Args) -> Outcome {
    let directory = args.text(0)?;
    match table()?.iter().find(|mount| mount.directory == directory) {
        None => Ok(()),
        Some(mount) => Err(Failure::differs(format!("{directory}: no mount"), &mount.kind)),
    }
}

fn size(args: &Args) -> Outcome {
    let expected: u64 = args.value(1)?;
    let status = statvfs(args.text(0)?).attempt("statvfs")?;
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    let got = status.fragment_size() as u64 * u64::from(status.blocks());
    // FreeBSD counts its own bookkeeping in: 1 MiB gives 983,040 bytes.
    if got.abs_diff(expected) <= (expected / 10).max(4096) { Ok(()) } else { Err(Failure::differs(expected, got)) }
}
