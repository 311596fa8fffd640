//! `demo download` against a server of the test's own, with broken transfers and wrong answers.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod mirror;

use std::path::PathBuf;

use assert_cmd::Command;
use mirror::{Fault, Mirror};
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const BASE: &str = "/releases/amd64/amd64/14.1-RELEASE";

struct Test {
    mirror: Mirror,
    dir: TempDir,
    file: Vec<u8>,
}

impl Test {
    fn new() -> Self {
        Self::on(Mirror::start(), BASE)
    }

    /// A base system in this directory of a server.
    fn on(mirror: Mirror, directory: &str) -> Self {
        let file: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        mirror.put(&format!("{directory}/base.txz"), file.clone());
        mirror.put(&format!("{directory}/MANIFEST"), manifest(&file));
        Self { mirror, dir: tempfile::tempdir().unwrap(), file }
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("rootfs.txz")
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join("rootfs.txz.part")
    }

    fn command(&self, version: &str) -> Command {
        self.command_on(version, &self.mirror.url())
    }

    fn command_on(&self, version: &str, mirror: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("runj"));
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").current_dir(self.dir.path());
        command.args(["demo", "download", "-m", "amd64", "-a", "amd64", "-v", version, "--mirror", mirror]);
        command
    }

    fn succeeds(&self) {
        self.command("14.1-RELEASE").assert().success();
        self.is_there();
    }

    fn is_there(&self) {
        assert!(std::fs::read(self.output()).unwrap() == self.file);
        assert!(!self.part().exists());
    }

    fn faults(&self, faults: &[Fault]) {
        self.mirror.faults(&format!("{BASE}/base.txz"), faults);
    }
}

fn sum(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest(file: &[u8]) -> String {
    format!(
        "base-dbg.txz\t{}\t1\tbase-dbg\nbase.txz\t{}\t2\tbase\t\"Base system (MANDATORY)\"\ton\n",
        sum(b"x"),
        sum(file)
    )
}

#[test]
fn fetches_and_verifies() {
    let test = Test::new();
    let assert = test.command("14.1-RELEASE").assert().success();
    assert
        .stdout("Downloading image for amd64/amd64 14.1-RELEASE into rootfs.txz\n")
        .stderr(
            contains("base.txz: 100% of 390.6 KiB")
                .and(contains(format!("rootfs.txz: verified, sha256 {}", sum(&test.file)))),
        )
        .stderr(contains("\r").not());
    test.is_there();
    // Once more: it is there.
    test.command("14.1-RELEASE").assert().success().stderr(contains("is there already"));
    assert_eq!(test.mirror.requests("base.txz").len(), 1);
}

#[test]
fn quiet_says_nothing() {
    let test = Test::new();
    test.command("14.1-RELEASE").args(["--quiet", "-o", "other.txz"]).assert().success().stdout("").stderr("");
    assert!(std::fs::read(test.dir.path().join("other.txz")).unwrap() == test.file);
}

#[test]
fn a_broken_transfer_is_gone_on_with() {
    let test = Test::new();
    test.faults(&[Fault::Cut(1000), Fault::Cut(70_000), Fault::Status(503), Fault::Cut(0)]);
    let assert = test.command("14.1-RELEASE").assert().success();
    assert.stderr(contains("trying again"));
    test.is_there();
    let asked: Vec<String> = test.mirror.requests("base.txz").iter().map(|r| r.replace(BASE, "")).collect();
    let resumed = "/base.txz bytes=71000-";
    assert_eq!(asked, ["/base.txz", "/base.txz bytes=1000-", resumed, resumed, resumed]);
}

#[rstest]
#[case::no_range(Fault::NoRange)]
#[case::wrong_range(Fault::WrongRange)]
fn a_server_that_cannot_resume_is_asked_for_all(#[case] fault: Fault) {
    let test = Test::new();
    test.faults(&[Fault::Cut(1000), fault]);
    test.succeeds();
}

#[test]
fn a_part_of_an_earlier_run_is_used() {
    let test = Test::new();
    std::fs::write(test.part(), &test.file[..123_456]).unwrap();
    test.succeeds();
    assert_eq!(test.mirror.requests("base.txz"), [format!("{BASE}/base.txz bytes=123456-")]);
    // A whole one, too.
    std::fs::rename(test.output(), test.part()).unwrap();
    test.succeeds();
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    let test = Test::new();
    for part in [vec![7; 1000], vec![7; 500_000]] {
        std::fs::write(test.part(), part).unwrap();
        test.succeeds();
        std::fs::remove_file(test.output()).unwrap();
    }
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let test = Test::new();
    test.mirror.put(&format!("{BASE}/base.txz"), "something else");
    let words = contains("base.txz: checksum mismatch: it is ").and(contains(sum(&test.file)));
    test.command("14.1-RELEASE").assert().failure().stderr(words);
    assert_eq!(std::fs::read_dir(test.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_not_the_right_one_is_kept() {
    let test = Test::new();
    std::fs::write(test.output(), "mine").unwrap();
    test.command("14.1-RELEASE").assert().failure().stderr(contains("rootfs.txz: exists and is not http://"));
    assert_eq!(std::fs::read_to_string(test.output()).unwrap(), "mine");
}

#[test]
fn an_unknown_version_names_where_it_was_looked_for() {
    let test = Test::new();
    let words = contains("no base system for amd64/amd64 99.0-RELEASE: there is none of http://")
        .and(contains("/releases/amd64/amd64/99.0-RELEASE/MANIFEST, "))
        .and(contains("/snapshots/amd64/amd64/99.0-RELEASE/MANIFEST, "))
        .and(contains("/old-releases/amd64/99.0-RELEASE/MANIFEST"));
    test.command("99.0-RELEASE").assert().failure().stderr(words);
    assert_eq!(std::fs::read_dir(test.dir.path()).unwrap().count(), 0);
}

#[rstest]
#[case("/snapshots/amd64/amd64/15.0-CURRENT", "15.0-CURRENT")]
#[case("/snapshots/amd64/amd64/15.0-ALPHA2", "15.0-ALPHA2")]
#[case("/old-releases/amd64/amd64/9.0-RELEASE", "9.0-RELEASE")]
#[case("/old-releases/amd64/9.1-RELEASE", "9.1-RELEASE")]
fn snapshots_and_old_releases_are_found(#[case] directory: &str, #[case] version: &str) {
    let test = Test::on(Mirror::start(), directory);
    test.command(version).assert().success();
    test.is_there();
}

#[test]
fn a_list_without_the_file_is_an_error() {
    let test = Test::new();
    for (list, words) in [("kernel.txz\tx\n", "lists no base.txz"), ("base.txz\tzz\n", "\"zz\" is no SHA-256")] {
        test.mirror.put(&format!("{BASE}/MANIFEST"), list);
        test.command("14.1-RELEASE").assert().failure().stderr(contains("MANIFEST: ").and(contains(words)));
    }
}

#[test]
fn a_refusal_is_not_tried_again() {
    let test = Test::new();
    test.faults(&[Fault::Status(403)]);
    test.command("14.1-RELEASE").assert().failure().stderr(contains("base.txz: the server answers 403"));
    assert_eq!(test.mirror.requests("base.txz").len(), 1);
    assert!(!test.output().exists());
}

#[test]
fn nobody_there() {
    let test = Test::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = test.command("14.1-RELEASE");
    command.env("HTTP_PROXY", format!("http://{closed}"));
    command.assert().failure().stderr(contains("MANIFEST: tried 5 times").and(contains("refused")));
    assert_eq!(std::fs::read_dir(test.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_full_disk_leaves_a_part_that_is_gone_on_with() {
    let test = Test::new();
    let runj = assert_cmd::cargo::cargo_bin!("runj").display().to_string();
    // Blocks of 512 bytes; without the trap the signal would kill before the error is seen.
    let script = format!("trap '' XFSZ; ulimit -f 100; exec {runj} \"$@\"");
    let mut limited = Command::new("/bin/sh");
    let args = test.command("14.1-RELEASE");
    limited.args(["-c", &script, "sh"]).args(args.get_args()).current_dir(test.dir.path());
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
        limited.env_remove(name);
    }
    limited.assert().failure().stderr(contains("rootfs.txz.part: File too large"));
    assert!(!test.output().exists());
    assert!(std::fs::metadata(test.part()).unwrap().len() <= 51_200);
    test.succeeds();
}

#[test]
fn a_part_that_another_writes_is_left_alone() {
    let test = Test::new();
    let part = std::fs::File::create(test.part()).unwrap();
    let lock = nix::fcntl::Flock::lock(part, nix::fcntl::FlockArg::LockExclusive).unwrap();
    test.command("14.1-RELEASE").assert().failure().stderr(contains("another download is writing it"));
    drop(lock);
    test.succeeds();
}

#[test]
fn a_proxy_is_used() {
    let test = Test::new();
    let mut command = test.command_on("14.1-RELEASE", "http://mirror.invalid");
    command.env("http_proxy", test.mirror.url());
    command.assert().success();
    test.is_there();
    assert!(test.mirror.requests("CONNECT").iter().all(|request| request == "CONNECT mirror.invalid:80"));
    assert!(!test.mirror.requests("CONNECT").is_empty());
}

#[test]
fn a_proxy_that_is_no_url_is_an_error() {
    let test = Test::new();
    let mut command = test.command("14.1-RELEASE");
    command.env("HTTPS_PROXY", "ftp://x").assert().failure().stderr(contains("HTTPS_PROXY=ftp://x: "));
    assert_eq!(test.mirror.requests("").len(), 0);
}

#[test]
fn an_official_image() {
    let test = Test::new();
    let directory = "/releases/OCI-IMAGES/14.3-RELEASE/amd64/Latest";
    let file = "FreeBSD-14.3-RELEASE-amd64-container-image-static.txz";
    test.mirror.put(&format!("{directory}/{file}"), "an image");
    let list =
        format!("SHA256 (x-container-image-runtime.txz) = {}\nSHA256 ({file}) = {}\n", sum(b"x"), sum(b"an image"));
    test.mirror.put(&format!("{directory}/CHECKSUM.SHA256"), list);
    test.command("14.3-RELEASE").args(["--image", "static"]).assert().success();
    assert_eq!(std::fs::read_to_string(test.dir.path().join("image.txz")).unwrap(), "an image");
    let unknown = test.command("14.3-RELEASE").args(["--image", "huge", "-o", "x"]).assert().failure();
    unknown.stderr(contains("lists no image \"huge\"; there are runtime, static"));
}

/// The base system is fetched and becomes an image in one command.
#[test]
fn an_image_of_a_base_system_that_is_fetched() {
    let test = Test::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    for set in [tar::Header::set_uid, tar::Header::set_gid] {
        set(&mut header, 0);
    }
    header.set_mode(0o755);
    header.set_size(4);
    header.set_mtime(1);
    tar.append_data(&mut header, "./bin/sh", &b"test"[..]).unwrap();
    let file = tar.into_inner().unwrap();
    test.mirror.put(&format!("{BASE}/MANIFEST"), manifest(&file));
    test.mirror.put(&format!("{BASE}/base.txz"), file);
    let args = test.command("14.1-RELEASE");
    let args: Vec<_> = args.get_args().skip(2).map(ToOwned::to_owned).collect();
    let make = |output: &str, date: &str| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("runj"));
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        command.current_dir(test.dir.path()).env("SOURCE_DATE_EPOCH", date);
        command.args(["demo", "oci-image"]).args(&args).args(["-o", output]).assert()
    };
    let told = contains("Creating OCI image in file image.tar\nwriting blob sha256:")
        .and(contains("image.tar: localhost/freebsd:14.1-RELEASE"));
    make("image.tar", "1700000000").success().stdout(told);
    assert!(test.dir.path().join("FreeBSD-14.1-RELEASE-amd64-base.txz").exists());
    make("again.tar", "1700000000").success();
    make("later.tar", "1700000001").success();
    let read = |name: &str| std::fs::read(test.dir.path().join(name)).unwrap();
    assert!(read("image.tar") == read("again.tar"));
    assert!(read("image.tar") != read("later.tar"));
    assert_eq!(test.mirror.requests("base.txz").len(), 1);
    make("never.tar", "tomorrow").failure().stderr(contains("SOURCE_DATE_EPOCH=tomorrow: "));
}

#[test]
fn certificates_are_the_systems_or_the_bundled_ones() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let test = Test::on(Mirror::start_tls(config), BASE);
    let file = test.dir.path().join("authorities.pem");
    std::fs::write(&file, certified.cert.pem()).unwrap();
    // Nobody vouches for it among the bundled ones.
    let refused = test.command("14.1-RELEASE").env("SSL_CERT_FILE", &file).args(["--tls-roots", "bundled"]).assert();
    refused.failure().stderr(contains("certificate").and(contains("trying again").not()));
    // The system has none.
    let none =
        test.command("14.1-RELEASE").env("SSL_CERT_FILE", "/nonexistent").args(["--tls-roots", "system"]).assert();
    none.failure()
        .stderr(contains("the system has no certificates of authorities").and(contains("--tls-roots bundled")));
    let auto = test.command("14.1-RELEASE").env("SSL_CERT_FILE", "/nonexistent").assert();
    auto.failure().stderr(contains("certificate"));
    for roots in ["system", "auto"] {
        test.command("14.1-RELEASE").env("SSL_CERT_FILE", &file).args(["--tls-roots", roots]).assert().success();
        test.is_there();
        std::fs::remove_file(test.output()).unwrap();
    }
}

#[test]
fn what_is_not_known_is_asked_for() {
    if runj::sys::installed().unwrap().is_none() {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("runj"));
        let assert = command.args(["demo", "download"]).assert().failure();
        assert.stderr(contains("--machine is needed: no FreeBSD runs here"));
    }
}
