//! From a root file system to a running container: `demo bundle --rootfs`, `demo oci-image`, `demo unpack`, and what
//! containerd and podman say to the images.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use integ::prelude::*;
use integ::{Containerd, locate};
use tar::{EntryType, Header};

/// An archive in the test's directory.
struct Archive(tar::Builder<fs::File>);

impl Archive {
    fn new(path: &Path) -> Self {
        Self(tar::Builder::new(fs::File::create(path).unwrap()))
    }

    fn put(mut self, kind: EntryType, name: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = header(kind, mode);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    fn link(mut self, kind: EntryType, name: &str, target: &str) -> Self {
        self.0.append_link(&mut header(kind, 0o777), name, target).unwrap();
        self
    }

    fn flags(mut self, flags: &str) -> Self {
        self.0.append_pax_extensions([("SCHILY.fflags", flags.as_bytes())]).unwrap();
        self
    }

    fn finish(self) {
        self.0.into_inner().unwrap();
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000_000);
    header.set_size(0);
    header
}

/// The archive of a root file system with integ-inside and some files that are easily spoilt.
fn rootfs(case: &Case) -> PathBuf {
    let path = case.path("rootfs.tar");
    let inside = fs::read(locate::inside().unwrap()).unwrap();
    Archive::new(&path)
        .put(EntryType::Directory, "./", 0o755, b"")
        .put(EntryType::Directory, "./dev/", 0o755, b"")
        .put(EntryType::Directory, "./tmp/", 0o1777, b"")
        .put(EntryType::Directory, "./closed/", 0o500, b"")
        .put(EntryType::Regular, "./integ-inside", 0o755, &inside)
        .put(EntryType::Regular, "./closed/setuid", 0o4751, b"x")
        .link(EntryType::Link, "./again", "./closed/setuid")
        .link(EntryType::Symlink, "./link", "/no/where")
        .put(EntryType::Char, "./dev/null", 0o666, b"")
        .flags("nodump")
        .put(EntryType::Regular, "./flagged", 0o644, b"x")
        .flags("schg")
        .put(EntryType::Regular, "./immutable", 0o644, b"x")
        .finish();
    path
}

/// That the root is what [`rootfs`] packed; takes the flag that keeps it from being removed.
fn is_unpacked(root: &Path) {
    let status = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    let (setuid, closed) = (status("closed/setuid"), status("closed"));
    assert_eq!((setuid.mode() & 0o7777, setuid.uid(), setuid.gid(), setuid.nlink()), (0o4751, 7, 8, 2));
    assert_eq!((closed.mode() & 0o7777, closed.uid(), closed.mtime()), (0o500, 7, 1_000_000_000));
    assert_eq!(status("again").ino(), setuid.ino());
    assert_eq!((status("link").uid(), fs::read_link(root.join("link")).unwrap()), (7, "/no/where".into()));
    assert_eq!((status("tmp").mode() & 0o7777, status("").uid()), (0o1777, 7));
    flags(root);
}

#[cfg(target_os = "freebsd")]
fn flags(root: &Path) {
    use nix::sys::stat::{FileFlag, stat};
    assert_eq!(stat(&root.join("flagged")).unwrap().st_flags, 0x1);
    assert_eq!(stat(&root.join("immutable")).unwrap().st_flags, 0x2_0000);
    assert!(fs::write(root.join("immutable"), "y").is_err());
    nix::unistd::chflags(&root.join("immutable"), FileFlag::empty()).unwrap();
}

#[cfg(not(target_os = "freebsd"))]
fn flags(_: &Path) {}

/// What `run` of the bundle prints.
fn run(case: &Case, bundle: &Path) -> String {
    case.runj(["run", "--bundle", bundle.to_str().unwrap(), &case.id()]).ok()
}

/// That the command fails with these words and makes nothing.
fn fails(program: Program, words: &str, target: &Path) {
    let output = program.run();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains(words), "{text}");
    assert!(!target.exists());
    let left = fs::read_dir(target.parent().unwrap()).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().ends_with(".part")), "{text}");
}

#[test]
fn a_bundle_of_an_archive_runs() {
    case(needs!(Runj), |case| {
        let (archive, dir) = (rootfs(case), case.path("bundle"));
        let program = case.runtime().args(["demo", "bundle", "--rootfs"]).arg(archive).arg(&dir);
        let told = program.args(["/integ-inside", "echo", "hello"]).ok();
        assert!(told.contains("1 device nodes below dev"), "{told}");
        assert_eq!(told.contains("2 files' flags"), cfg!(target_os = "linux"), "{told}");
        assert_eq!(run(case, &dir), "hello\n");
        is_unpacked(&dir.join("root"));
    });
}

#[test]
fn a_bundle_of_a_directory_uses_it_where_it_is() {
    case(needs!(Runj), |case| {
        let root = case.bundle("minimal").root();
        let dir = case.path("bundle");
        let program = case.runtime().args(["demo", "bundle", "--rootfs"]).arg(&root).arg(&dir);
        program.args(["/integ-inside", "echo", "hello"]).ok();
        assert_eq!(run(case, &dir), "hello\n");
        assert!(!dir.join("root").exists());
    });
}

#[rstest]
#[case("gzip")]
#[case("zstd")]
fn an_image_becomes_a_bundle(#[case] compression: &str) {
    case(needs!(Runj), |case| {
        let (image, dir) = (image(case, compression, &["/integ-inside", "echo", "hello"]), case.path("bundle"));
        let unpack =
            |more: &[&str], dir: &Path| case.runtime().args(["demo", "unpack"]).args(more).arg(&image).arg(dir);
        unpack(&[], &dir).ok();
        assert_eq!(run(case, &dir), "hello\n");
        is_unpacked(&dir.join("root"));
        // It is there now.
        let again = unpack(&[], &dir).run();
        assert!(String::from_utf8_lossy(&again.stderr).contains("bundle: exists; remove it first"));
        let other = case.path("other");
        unpack(&["--quiet"], &other).args(["/integ-inside", "echo", "other"]).ok();
        assert_eq!(run(case, &other), "other\n");
        is_unpacked(&other.join("root"));
        fails(unpack(&["--name", "localhost/other:1"], &case.path("no")), "holds no image named", &case.path("no"));
        fails(unpack(&["--max-size", "100k"], &case.path("no")), "more than 102400 bytes", &case.path("no"));
    });
}

/// Makes an image of [`rootfs`].
fn image(case: &Case, compression: &str, command: &[&str]) -> PathBuf {
    let path = case.path(&format!("image-{compression}.tar"));
    let program = case.runtime().args(["demo", "oci-image", "-i"]).arg(rootfs(case)).arg("-o").arg(&path);
    let program = program.args(["--compression", compression, "--name", "integ.local/demo:1"]).args(command);
    let told = program.ok();
    assert!(
        told.starts_with("Creating OCI image in file ") && told.matches("writing blob sha256:").count() == 3,
        "{told}"
    );
    path
}

/// Every blob is verified: a byte that is not what it was is found.
#[test]
fn a_damaged_image_is_refused() {
    case(needs!(Runj), |case| {
        let image = image(case, "gzip", &["/integ-inside", "true"]);
        let mut archive = tar::Archive::new(fs::File::open(&image).unwrap());
        let blobs: Vec<(u64, u64)> = archive
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.size() > 0 && entry.path().unwrap().starts_with("blobs"))
            .map(|entry| (entry.raw_file_position(), entry.size()))
            .collect();
        assert_eq!(blobs.len(), 3);
        let file = fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
        for (position, size) in blobs {
            // The last bytes of a gzip stream are its length: the data comes out, and is not what was promised.
            let place = position + size - 1;
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] ^ 1], place).unwrap();
            let output = case.runtime().args(["demo", "unpack"]).arg(&image).arg(case.path("no")).run();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && (text.contains("digest mismatch") || text.contains("corrupt gzip")),
                "{text}"
            );
            assert!(!case.path("no").exists());
            file.write_all_at(&byte, place).unwrap();
        }
        case.runtime().args(["demo", "unpack"]).arg(&image).arg(case.path("yes")).ok();
        is_unpacked(&case.path("yes/root"));
    });
}

/// As root, with device nodes and owners to be had, nothing outside is touched.
#[test]
fn a_hostile_archive_changes_nothing_outside() {
    case(needs!(Runj), |case| {
        let outside = case.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        let through = outside.join("secret").display().to_string();
        let archives: [(&str, &dyn Fn(Archive) -> Archive); 4] = [
            ("leads through a symbolic link", &|archive| {
                let archive = archive.link(EntryType::Symlink, "a", outside.to_str().unwrap());
                archive.put(EntryType::Regular, "a/secret", 0o644, b"x")
            }),
            ("an absolute name", &|archive| archive.link(EntryType::Link, "a", &through)),
            ("a device node outside dev", &|archive| archive.put(EntryType::Block, "etc/disk", 0o666, b"")),
            ("hard link: a name with `..`", &|archive| archive.link(EntryType::Link, "a", "../../outside/secret")),
        ];
        for (words, make) in archives {
            let (archive, dir) = (case.path("bad.tar"), case.path("bundle"));
            make(Archive::new(&archive)).finish();
            fails(case.runtime().args(["demo", "bundle", "--rootfs"]).arg(&archive).arg(&dir), words, &dir);
            assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        }
    });
}

/// A small file that would fill the disk ends at the limit, and is not left there.
#[test]
fn a_bomb_ends_at_the_limit() {
    case(needs!(Runj), |case| {
        let (archive, dir) = (case.path("bomb.tar"), case.path("bundle"));
        // The zeros are a hole.
        let mut file = fs::File::create(&archive).unwrap();
        let mut header = header(EntryType::Regular, 0o644);
        header.set_path("zeros").unwrap();
        header.set_size(64 << 20);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len((64 << 20) + 512 + 1024).unwrap();
        let program = case.runtime().args(["demo", "bundle", "--max-size", "1m", "--rootfs"]).arg(&archive).arg(&dir);
        fails(program, "more than 1048576 bytes when decompressed; --max-size allows more", &dir);
    });
}

#[test]
fn containerd_runs_the_image() {
    case(needs!(Linux, Runj, Containerd), |case| {
        let image = image(case, "gzip", &["/integ-inside", "echo", "hello"]);
        let containerd = Containerd::start(case);
        let platform = ["--platform", platform()];
        let import = containerd.ctr(["image", "import", "--snapshotter", "native"]).args(platform);
        assert!(import.arg(image).ok().contains("integ.local/demo:1"));
        let run = containerd.ctr(["run", "--rm", "--runtime", "wtf.sbk.runj.v1", "--snapshotter", "native"]);
        assert_eq!(run.args(platform).args(["integ.local/demo:1", &case.id()]).ok(), "hello\n");
    });
}

fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "freebsd/arm64" } else { "freebsd/amd64" }
}

#[cfg(target_os = "linux")]
mod podman {
    use integ::engine::Engine;

    use super::*;

    #[test]
    fn podman_runs_the_image() {
        case(needs!(Podman, Runj), |case| {
            let engine = Engine::new(case);
            for compression in ["gzip", "zstd"] {
                let image = image(case, compression, &["/integ-inside", "echo", "hello"]);
                engine.podman(["load", "-i"]).arg(image).ok();
                let run = ["run", "--rm", "--cgroup-parent", &engine.group(), "integ.local/demo:1"];
                assert_eq!(engine.podman(run).ok(), "hello\n");
                engine.ok(&["rmi", "integ.local/demo:1"]);
            }
        });
    }

    /// Images of several layers, with whiteouts, in both formats, compressed too.
    #[rstest]
    #[case("oci-archive")]
    #[case("docker-archive")]
    fn an_image_of_podmans_becomes_a_bundle(#[case] format: &str) {
        case(needs!(Podman, Runj), |case| {
            let engine = Engine::new(case);
            engine.run(&["--name", "c"], &["sh", "-c", "rm -r /work /bin/vi; mkdir /work; echo upper >/work/new"]).ok();
            let changes = [
                "ENTRYPOINT [\"sh\", \"-c\"]",
                "CMD [\"id; pwd; cat new; ls /bin/vi\"]",
                "USER alice",
                "WORKDIR /work",
            ];
            let mut commit = engine.podman(["commit", "-q"]);
            for change in changes {
                commit = commit.args(["--change", change]);
            }
            commit.args(["c", "localhost/changed:1"]).ok();
            let archive = case.path("saved.tar");
            engine.podman(["save", "-q", "--format", format, "-o"]).arg(&archive).arg("localhost/changed:1").ok();
            Program::new("xz").arg("-0").arg(&archive).ok();
            let dir = case.path("bundle");
            case.runtime().args(["demo", "unpack"]).arg(case.path("saved.tar.xz")).arg(&dir).ok();
            let output = case.runj(["run", "--bundle", dir.to_str().unwrap(), &case.id()]).run();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text, "uid=1000(alice) gid=1000(alice) groups=1000(alice)\n/work\nupper\n", "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("/bin/vi: No such file"), "{output:?}");
        });
    }
}

/// The image is made in one pass: its size is written when it is known.
#[test]
fn any_reader_of_tar_reads_the_image() {
    case(needs!(Runj), |case| {
        let image = image(case, "gzip", &["/integ-inside", "true"]);
        let mut file = fs::File::open(image).unwrap();
        let length = file.seek(SeekFrom::End(0)).unwrap();
        file.seek(SeekFrom::Start(length - 1024)).unwrap();
        let mut end = Vec::new();
        file.read_to_end(&mut end).unwrap();
        assert_eq!(end, [0; 1024]);
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut archive = tar::Archive::new(file);
        let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        let names: Vec<String> = names.collect();
        assert_eq!((&*names[0], &*names[1], &*names[6]), ("oci-layout", "blobs/", "index.json"));
    });
}
