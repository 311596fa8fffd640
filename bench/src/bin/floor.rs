//! The floor: what the kernel alone needs for what runj does, with nothing around it.
//!
//! `floor nothing` starts and ends; `floor sleep` does not end. `floor run ROOT NET MOUNTS PROGRAM ARGS...` runs a program in
//! new namespaces or in a jail with that root, an own network stack if NET is `vnet`, and a tmpfs on each of MOUNTS
//! directories (`m0`, `m1`, ...) of the root. `floor keep ROOT ...` is the same on Linux with what the emulation of a jail cannot
//! do without: a process that holds the namespaces, which the program's process enters. `floor read STATE` opens and reads one
//! small file for each container below a state directory.
#![allow(clippy::expect_used, unsafe_code)]

#[cfg(target_os = "freebsd")]
use std::ffi::CStr;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `run` is told.
struct Run {
    root: PathBuf,
    vnet: bool,
    mounts: usize,
    program: Vec<CString>,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|word| word.to_str()) {
        Some("nothing") => ExitCode::SUCCESS,
        Some("sleep") => loop {
            std::thread::park();
        },
        Some("read") if arguments.len() == 2 => read(Path::new(&arguments[1])),
        Some(verb @ ("run" | "keep")) if arguments.len() > 4 => {
            let text = |index: usize| arguments[index].to_string_lossy();
            let program = arguments[4..].iter().map(|word| CString::new(word.clone().into_vec()).expect("no NUL"));
            let run = Run {
                root: PathBuf::from(&arguments[1]),
                vnet: text(2) == "vnet",
                mounts: text(3).parse().expect("MOUNTS"),
                program: program.collect(),
            };
            match verb {
                #[cfg(target_os = "linux")]
                "keep" => keep(&run),
                _ => self::run(&run),
            }
        }
        _ => ExitCode::from(2),
    }
}

fn read(state: &Path) -> ExitCode {
    for entry in std::fs::read_dir(state).expect("state").flatten() {
        let _ = std::fs::read(entry.path().join("state.json"));
    }
    ExitCode::SUCCESS
}

/// Waits for the child; succeeds as it does.
fn wait(child: libc::pid_t) -> ExitCode {
    let mut status = 0;
    // SAFETY: a pointer to a live number.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    if waited == child && status == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Becomes the program.
fn execute(program: &[CString]) -> ! {
    let mut argv: Vec<_> = program.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    let environ = [std::ptr::null()];
    // SAFETY: both arrays end with a null pointer; the words live until the call does not return.
    unsafe {
        libc::execve(argv[0], argv.as_ptr(), environ.as_ptr());
        libc::_exit(127)
    }
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL")
}

#[cfg(target_os = "linux")]
fn run(run: &Run) -> ExitCode {
    let child = clone(run);
    if child != 0 {
        return wait(child);
    }
    enter(run);
    execute(&run.program)
}

/// A child in new namespaces.
#[cfg(target_os = "linux")]
fn clone(run: &Run) -> libc::pid_t {
    // SAFETY: as fork(2), and this process has one thread.
    let child = unsafe { libc::syscall(libc::SYS_clone, namespaces(run) | libc::SIGCHLD, 0, 0, 0, 0) };
    libc::pid_t::try_from(child).expect("a pid")
}

#[cfg(target_os = "linux")]
fn namespaces(run: &Run) -> libc::c_int {
    let net = if run.vnet { libc::CLONE_NEWNET } else { 0 };
    libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWPID | net
}

#[cfg(target_os = "linux")]
fn keep(run: &Run) -> ExitCode {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; as above; a byte of a live buffer; numbers.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0, "pipe");
        let keeper = clone(run);
        if keeper == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            enter(run);
            libc::write(ends[1], c"r".as_ptr().cast(), 1);
            loop {
                libc::pause();
            }
        }
        libc::close(ends[1]);
        let mut byte = 0_u8;
        assert_eq!(libc::read(ends[0], (&raw mut byte).cast(), 1), 1, "the keeper");
        let pidfd = i32::try_from(libc::syscall(libc::SYS_pidfd_open, keeper, 0)).expect("a descriptor");
        assert_eq!(libc::setns(pidfd, libc::CLONE_NEWPID), 0, "setns");
        let child = libc::fork();
        if child == 0 {
            assert_eq!(libc::setns(pidfd, namespaces(run) & !libc::CLONE_NEWPID), 0, "setns");
            execute(&run.program);
        }
        let code = wait(child);
        libc::kill(keeper, libc::SIGKILL);
        wait(keeper);
        code
    }
}

/// Mounts, and makes the root the root.
#[cfg(target_os = "linux")]
fn enter(run: &Run) {
    let root = c_string(&run.root);
    let none = std::ptr::null();
    let mount = |source: *const libc::c_char, target: *const libc::c_char, fstype: *const libc::c_char, flags| {
        // SAFETY: every pointer is null or a C string.
        assert_eq!(unsafe { libc::mount(source, target, fstype, flags, std::ptr::null()) }, 0, "mount");
    };
    mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE);
    mount(root.as_ptr(), root.as_ptr(), none, libc::MS_BIND | libc::MS_REC);
    for number in 0..run.mounts {
        let target = c_string(&run.root.join(format!("m{number}")));
        mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0);
    }
    let here = c".".as_ptr();
    // SAFETY: C strings.
    unsafe {
        assert_eq!(libc::chdir(root.as_ptr()), 0, "chdir");
        assert_eq!(libc::syscall(libc::SYS_pivot_root, here, here), 0, "pivot_root");
        assert_eq!(libc::umount2(here, libc::MNT_DETACH), 0, "umount");
    }
}

#[cfg(target_os = "freebsd")]
fn run(run: &Run) -> ExitCode {
    let targets: Vec<CString> = (0..run.mounts).map(|number| c_string(&run.root.join(format!("m{number}")))).collect();
    for target in &targets {
        let [tmpfs, target] = [c"tmpfs", target].map(CStr::to_bytes_with_nul);
        vector(&[(c"fstype", tmpfs), (c"fspath", target), (c"from", tmpfs)], |parts, count| {
            // SAFETY: `count` parts that live until the call returns.
            assert_eq!(unsafe { libc::nmount(parts, count, 0) }, 0, "nmount");
        });
    }
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let root = c_string(&run.root);
        let mut parameters = vec![(c"path", root.to_bytes_with_nul())];
        let new = 1_i32.to_ne_bytes();
        parameters.extend(run.vnet.then_some((c"vnet", new.as_slice())));
        vector(&parameters, |parts, count| {
            // SAFETY: as above.
            assert!(unsafe { libc::jail_set(parts, count, libc::JAIL_CREATE | libc::JAIL_ATTACH) } > 0, "jail_set");
        });
        execute(&run.program);
    }
    let code = wait(child);
    for target in targets.iter().rev() {
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::unmount(target.as_ptr(), 0) }, 0, "unmount");
    }
    code
}

/// Names and values as jail_set(2) and nmount(2) take them.
#[cfg(target_os = "freebsd")]
fn vector(pairs: &[(&CStr, &[u8])], call: impl FnOnce(*mut libc::iovec, libc::c_uint)) {
    let part = |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut parts: Vec<_> =
        pairs.iter().flat_map(|&(name, value)| [part(name.to_bytes_with_nul()), part(value)]).collect();
    let count = libc::c_uint::try_from(parts.len()).expect("few");
    call(parts.as_mut_ptr(), count);
}
