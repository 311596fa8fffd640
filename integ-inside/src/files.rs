//! Files, directories, devices and descriptors.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use crate::outcome::{Args, Attempt, Check, Failure, Outcome, same};
use crate::sys;

pub const CHECKS: &[Check] = &[
    Check { name: "file", usage: "PATH [TEXT]", about: "a file is there, and holds this text", run: file },
    Check { name: "directory", usage: "PATH", about: "a directory is there", run: directory },
    Check { name: "absent", usage: "PATH", about: "nothing is there", run: absent },
    Check { name: "entries", usage: "DIR [NAME]...", about: "a directory holds exactly these names", run: entries },
    Check { name: "mode", usage: "PATH OCTAL", about: "permission bits", run: mode },
    Check { name: "owner", usage: "PATH UID GID", about: "user and group", run: owner },
    Check { name: "writable", usage: "PATH", about: "a file can be written, a directory takes a file", run: writable },
    Check { name: "read-only", usage: "PATH", about: "the same is refused with EROFS", run: read_only },
    Check { name: "write-file", usage: "PATH TEXT", about: "writes a file", run: write_file },
    Check { name: "append", usage: "PATH TEXT", about: "appends a line to a file", run: append },
    Check { name: "fill", usage: "DIR BYTES", about: "more than so much does not fit (ENOSPC)", run: fill },
    Check {
        name: "device",
        usage: "NAME...",
        about: "null, zero, full, random, urandom: there and working",
        run: device,
    },
    Check { name: "fds", usage: "[N]...", about: "open descriptors are exactly 0, 1, 2 and these", run: fds },
    Check { name: "fd-reads", usage: "N TEXT", about: "a preserved descriptor yields this text", run: fd_reads },
    Check { name: "fd-directories", usage: "", about: "no open descriptor is a directory", run: fd_directories },
];

fn file(args: &Args) -> Outcome {
    let path = args.text(0)?;
    let got = fs::read_to_string(path).attempt(format!("{path}: a file"))?;
    if args.list.len() > 1 { same(args.text(1)?, got.trim_end_matches('\n')) } else { Ok(()) }
}

fn directory(args: &Args) -> Outcome {
    let path = args.text(0)?;
    let metadata = fs::metadata(path).attempt(format!("{path}: a directory"))?;
    same(true, metadata.is_dir())
}

fn absent(args: &Args) -> Outcome {
    let path = args.text(0)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::differs(format!("{path}: nothing"), error)),
        Ok(metadata) => Err(Failure::differs(format!("{path}: nothing"), format!("{:?}", metadata.file_type()))),
    }
}

fn entries(args: &Args) -> Outcome {
    let path = args.text(0)?;
    let mut got = Vec::new();
    for entry in fs::read_dir(path).attempt(format!("{path}: a directory"))? {
        got.push(entry.attempt(path)?.file_name().to_string_lossy().into_owned());
    }
    got.sort();
    let mut expected = args.list.get(1..).unwrap_or_default().to_vec();
    expected.sort();
    same(expected, got)
}

fn mode(args: &Args) -> Outcome {
    let path = args.text(0)?;
    let got = fs::metadata(path).attempt(path)?.permissions().mode() & 0o7777;
    same(format!("{:04o}", args.octal(1)?), format!("{got:04o}"))
}

fn owner(args: &Args) -> Outcome {
    let metadata = fs::metadata(args.text(0)?).attempt(args.text(0)?)?;
    same((args.value::<u32>(1)?, args.value::<u32>(2)?), (metadata.uid(), metadata.gid()))
}

/// Opens a file for writing, or makes and removes one in a directory.
fn write_access(path: &str) -> std::io::Result<()> {
    let path = Path::new(path);
    if !path.is_dir() {
        return OpenOptions::new().append(true).open(path).map(drop);
    }
    let probe = path.join(format!(".integ-inside-{}", std::process::id()));
    File::create(&probe)?;
    fs::remove_file(&probe)
}

fn writable(args: &Args) -> Outcome {
    let path = args.text(0)?;
    write_access(path).attempt(format!("{path}: writable"))
}

fn read_only(args: &Args) -> Outcome {
    let path = args.text(0)?;
    match write_access(path) {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Ok(()),
        Err(error) => Err(Failure::differs(format!("{path}: EROFS"), error)),
        Ok(()) => Err(Failure::differs(format!("{path}: EROFS"), "writable")),
    }
}

fn write_file(args: &Args) -> Outcome {
    fs::write(args.text(0)?, args.text(1)?).attempt(format!("{}: written", args.text(0)?))
}

fn append(args: &Args) -> Outcome {
    let path = args.text(0)?;
    let mut file = OpenOptions::new().append(true).create(true).open(path).attempt(path)?;
    file.write_all(format!("{}\n", args.text(1)?).as_bytes()).attempt(path)
}

fn fill(args: &Args) -> Outcome {
    let (directory, bytes) = (args.text(0)?, args.value::<usize>(1)?);
    let path = Path::new(directory).join(".integ-inside-fill");
    let mut file = File::create(&path).attempt(path.display())?;
    let result = file.write_all(&vec![b'x'; bytes]);
    fs::remove_file(&path).attempt(path.display())?;
    match result {
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(()),
        Err(error) => Err(Failure::differs("ENOSPC", error)),
        Ok(()) => Err(Failure::differs("ENOSPC", format!("{bytes} bytes fit"))),
    }
}

fn device(args: &Args) -> Outcome {
    args.text(0)?;
    args.list.iter().try_for_each(|name| one_device(name))
}

fn one_device(name: &str) -> Outcome {
    let path = format!("/dev/{name}");
    let metadata = fs::metadata(&path).attempt(format!("{path}: a device"))?;
    same((name, true), (name, metadata.file_type().is_char_device()))?;
    let mut node =
        OpenOptions::new().read(true).write(name != "random" && name != "urandom").open(&path).attempt(&path)?;
    let mut buffer = [7u8; 16];
    match name {
        "null" => {
            node.write_all(b"gone").attempt(&path)?;
            same(0, node.read(&mut buffer).attempt(&path)?)
        }
        "zero" => {
            node.read_exact(&mut buffer).attempt(&path)?;
            same([0u8; 16], buffer)
        }
        "full" => {
            let kind = node.write_all(b"x").err().map(|error| error.kind());
            same(Some(ErrorKind::StorageFull), kind)
        }
        "random" | "urandom" => {
            node.read_exact(&mut buffer).attempt(&path)?;
            same(true, buffer != [7; 16])
        }
        _ => Err(Failure::usage(format!("{name}: what it should do is not known"))),
    }
}

fn open_descriptors() -> Vec<i32> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard.min(1 << 16) as i32);
    (0..limit.max(1024)).filter(|&fd| sys::is_open(fd)).collect()
}

fn fds(args: &Args) -> Outcome {
    let mut expected = vec![0, 1, 2];
    for index in 0..args.list.len() {
        expected.push(args.value(index)?);
    }
    let got = open_descriptors();
    if got == expected {
        return Ok(());
    }
    let names: Vec<String> = got
        .iter()
        .map(|fd| match fs::read_link(format!("/proc/self/fd/{fd}")) {
            Ok(target) => format!("{fd}={}", target.display()),
            Err(_) => fd.to_string(),
        })
        .collect();
    Err(Failure::differs(format!("{expected:?}"), format!("{names:?}")))
}

fn fd_reads(args: &Args) -> Outcome {
    let fd: i32 = args.value(0)?;
    if !sys::is_open(fd) {
        return Err(Failure::differs(format!("descriptor {fd}"), "closed"));
    }
    let mut text = Vec::new();
    let mut buffer = [0u8; 512];
    loop {
        let count = nix::unistd::read(sys::borrow(fd), &mut buffer).attempt(format!("descriptor {fd}: readable"))?;
        text.extend_from_slice(&buffer[..count]);
        if count == 0 {
            break;
        }
    }
    same(OsStr::new(args.text(1)?), OsStr::new(String::from_utf8_lossy(&text).trim_end()))
}

fn fd_directories(_: &Args) -> Outcome {
    let is_directory = |&fd: &i32| {
        let status = nix::sys::stat::fstat(sys::borrow(fd));
        status.is_ok_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFDIR)
    };
    same(Vec::<i32>::new(), open_descriptors().into_iter().filter(is_directory).collect())
}
