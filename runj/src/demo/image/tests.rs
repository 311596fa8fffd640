use std::collections::BTreeMap;
use std::path::PathBuf;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

const ELF: &[u8] = b"\x7fELF\x02\x01\x01\x09\0\0\0\0\0\0\0\0\x02\0\xb7\0rest";

fn rootfs(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn place(input: &[u8]) -> (TempDir, PathBuf, PathBuf) {
    let top = tempfile::tempdir().unwrap();
    let (from, to) = (top.path().join("rootfs"), top.path().join("image.tar"));
    fs::write(&from, input).unwrap();
    (top, from, to)
}

fn request<'a>(input: &'a Path, output: &'a Path, command: &'a [String]) -> Request<'a> {
    Request {
        input,
        output,
        arch: None,
        name: "localhost/freebsd:14.1-RELEASE",
        command,
        compression: Compression::Gzip,
        created: None,
        limit: 1 << 30,
        style: Style::Quiet,
    }
}

fn files(image: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(fs::File::open(image).unwrap());
    let file = |entry: io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        (entry.path().unwrap().display().to_string(), data)
    };
    archive.entries().unwrap().map(file).collect()
}

#[rstest]
#[case(Compression::Gzip, "gzip")]
#[case(Compression::Zstd, "zstd")]
fn an_image_is_what_the_specification_says(#[case] compression: Compression, #[case] suffix: &str) {
    let tar = rootfs(&[("etc/motd", b"a text that is longer than an ELF header"), ("bin/sh", ELF)]);
    let (_top, from, to) = place(&tar);
    let command = ["/bin/sh".to_owned()];
    write(&Request { compression, ..request(&from, &to, &command) }, |_| Ok(())).unwrap();
    let files = files(&to);
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let json = |data: &[u8]| serde_json::from_slice::<Value>(data).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        let data = &files[&format!("blobs/sha256/{digest}")];
        assert_eq!((stream::sha256(data), data.len() as u64), (digest, descriptor["size"].as_u64().unwrap()));
        data.clone()
    };
    let index = json(&files["index.json"]);
    let entry = &index["manifests"][0];
    assert_eq!(entry["platform"], json!({"architecture": "arm64", "os": "freebsd"}));
    assert_eq!(entry["annotations"]["io.containerd.image.name"], "localhost/freebsd:14.1-RELEASE");
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "14.1-RELEASE");
    let manifest = json(&blob(entry));
    assert_eq!(manifest["mediaType"], entry["mediaType"]);
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], format!("application/vnd.oci.image.layer.v1.tar+{suffix}"));
    let config = json(&blob(&manifest["config"]));
    let diff_id = format!("sha256:{}", stream::sha256(&tar));
    assert_eq!(config["rootfs"], json!({"type": "layers", "diff_ids": [diff_id]}));
    assert_eq!(config["config"]["Cmd"], json!(["/bin/sh"]));
    assert_eq!((&config["architecture"], &config["os"]), (&json!("arm64"), &json!("freebsd")));
    assert_eq!(config["created"], "2001-09-09T01:46:40Z");
    let plain = stream::decompressed(&blob(layer)[..], 1 << 30, |tar| {
        let mut data = Vec::new();
        tar.read_to_end(&mut data)?;
        Ok(data)
    });
    assert_eq!(plain.unwrap(), tar);
    assert_eq!(files.len(), 7);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let content: Vec<u8> = (0..400_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
    let (top, from, to) = place(&rootfs(&[("bin/sh", ELF), ("data", &content)]));
    let command = ["/bin/sh".to_owned()];
    let request = Request { created: Some(1_700_000_000), ..request(&from, &to, &command) };
    write(&request, |_| Ok(())).unwrap();
    let again = top.path().join("again.tar");
    write(&Request { output: &again, ..request }, |_| Ok(())).unwrap();
    assert!(fs::read(&to).unwrap() == fs::read(&again).unwrap());
}

#[rstest]
#[case::no_archive(b"#!/bin/sh\n".repeat(100), "tar archive")]
#[case::cut(rootfs(&[("bin/sh", ELF), ("x", &[1; 5000])])[..3000].to_vec(), "x: cut off after 1464 of 5000 bytes")]
#[case::leaves({ let mut tar = rootfs(&[("bin/sh", ELF)]); tar[..6].copy_from_slice(b"../../"); tar }, "checksum")]
#[case::no_program(rootfs(&[("etc/motd", b"no program, but twenty bytes")]), "name it by --architecture")]
#[case::cut_xz(b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!".to_vec(), "rootfs")]
#[case::bzip2(b"BZh91AY&SY".to_vec(), "bzip2, which is not supported")]
fn a_bad_input_leaves_nothing(#[case] input: Vec<u8>, #[case] words: &str) {
    let (top, from, to) = place(&input);
    let error = format!("{:#}", write(&request(&from, &to, &[]), |_| Ok(())).unwrap_err());
    assert!(error.contains(words), "{error}");
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
}

#[test]
fn what_exists_is_kept() {
    let (_top, from, to) = place(&rootfs(&[("bin/sh", ELF)]));
    fs::write(&to, "mine").unwrap();
    let error = write(&request(&from, &to, &[]), |_| Ok(())).unwrap_err().to_string();
    assert!(error.ends_with("image.tar: exists; remove it first"), "{error}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
}

fn gzip(data: &[u8]) -> Vec<u8> {
    encoded(Compression::Gzip, data)
}

fn zstd(data: &[u8]) -> Vec<u8> {
    encoded(Compression::Zstd, data)
}

fn encoded(compression: Compression, data: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[rstest]
#[case(gzip)]
#[case(zstd)]
#[case(xz)]
fn a_bomb_ends_at_the_limit(#[case] compress: fn(&[u8]) -> Vec<u8>) {
    let bomb = compress(&rootfs(&[("bin/sh", ELF), ("zeros", &vec![0; 4 << 20])]));
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let (top, from, to) = place(&bomb);
    let request = Request { limit: 2 << 20, ..request(&from, &to, &[]) };
    let error = format!("{:#}", write(&request, |_| Ok(())).unwrap_err());
    assert!(error.contains("more than 2097152 bytes when decompressed; --max-size allows more"), "{error}");
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
    write(&Request { limit: 8 << 20, ..request }, |_| Ok(())).unwrap();
}

/// Cut in the padding behind the archive's end, where a reader of tar alone would not see it.
#[rstest]
#[case(gzip)]
#[case(zstd)]
#[case(xz)]
fn a_compressed_stream_that_is_cut_off_is_an_error(#[case] compress: fn(&[u8]) -> Vec<u8>) {
    let mut stream = compress(&rootfs(&[("bin/sh", ELF)]));
    stream.truncate(stream.len() - 2);
    let (_top, from, to) = place(&stream);
    assert!(write(&request(&from, &to, &[]), |_| Ok(())).is_err());
    // Two streams are one archive: so do parallel compressors write.
    let tar = rootfs(&[("bin/sh", ELF)]);
    let (front, back) = tar.split_at(700);
    fs::write(&from, [compress(front), compress(back)].concat()).unwrap();
    write(&request(&from, &to, &[]), |_| Ok(())).unwrap();
}
