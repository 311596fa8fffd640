//! Machines, processors and versions, as FreeBSD's servers and as OCI images name them.

use anyhow::{Context, ensure};

use crate::sys;

/// What is downloaded: `arm64`, `aarch64`, `14.1-RELEASE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `hw.machine`.
    pub machine: String,
    /// `hw.machine_arch`.
    pub arch: String,
    /// The version with its branch.
    pub version: String,
}

impl Platform {
    /// What was asked for, and for the rest what runs here; the second value names what was found so.
    ///
    /// # Errors
    /// Something is not asked for, and FreeBSD does not run here.
    pub fn new(
        machine: Option<&str>,
        arch: Option<&str>,
        version: Option<&str>,
    ) -> anyhow::Result<(Self, Vec<(&'static str, String)>)> {
        let script = std::fs::read_to_string("/bin/freebsd-version").ok();
        Self::merge([machine, arch, version], sys::installed()?, script.as_deref())
    }

    fn merge(
        asked: [Option<&str>; 3],
        installed: Option<sys::Installed>,
        script: Option<&str>,
    ) -> anyhow::Result<(Self, Vec<(&'static str, String)>)> {
        let names = ["machine", "arch", "version"];
        let here = installed.map(|installed| {
            let version = script.and_then(userland_version).unwrap_or(&installed.release);
            let version = version.split('-').take(2).collect::<Vec<_>>().join("-");
            [installed.machine, installed.arch, version]
        });
        let mut found = Vec::new();
        let mut values = names.iter().zip(asked).enumerate().map(|(index, (name, asked))| {
            if let Some(value) = asked {
                let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                let valid = value.starts_with(|c: char| c.is_ascii_alphanumeric()) && value.chars().all(fits);
                ensure!(valid, "--{}: {value:?} is no name of one", option(name));
                return Ok(value.to_owned());
            }
            let value = here.as_ref().map(|here| here[index].clone()).with_context(|| {
                format!("--{} is needed: no FreeBSD runs here whose {name} could be taken", option(name))
            })?;
            found.push((*name, value.clone()));
            Ok(value)
        });
        let mut next = || values.next().context("three values")?;
        let platform = Self { machine: next()?, arch: next()?, version: next()? };
        drop(values);
        Ok((platform, found))
    }
}

fn option(name: &str) -> &str {
    if name == "arch" { "architecture" } else { name }
}

/// The version of the programs, which may be newer than the running kernel's: freebsd-version(1) is a script that
/// holds it.
fn userland_version(script: &str) -> Option<&str> {
    let value = script.lines().find_map(|line| line.strip_prefix("USERLAND_VERSION="))?;
    Some(value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// The name that OCI images have for FreeBSD's name of an architecture, and its variant: GOARCH and GOARM of Go.
///
/// # Errors
/// An architecture that images have no name for.
pub fn oci_architecture(arch: &str) -> anyhow::Result<(&'static str, Option<&'static str>)> {
    Ok(match arch {
        "amd64" | "x86_64" => ("amd64", None),
        "aarch64" | "arm64" => ("arm64", None),
        "i386" | "386" => ("386", None),
        "armv6" => ("arm", Some("v6")),
        "armv7" | "arm" => ("arm", Some("v7")),
        "powerpc64" | "ppc64" => ("ppc64", None),
        "powerpc64le" | "ppc64le" => ("ppc64le", None),
        "riscv64" => ("riscv64", None),
        other => anyhow::bail!("{other}: OCI images have no name for this architecture"),
    })
}

/// FreeBSD's name of the architecture that an ELF program is for, from its first bytes (elf(5)).
pub fn elf_architecture(head: &[u8]) -> Option<&'static str> {
    let [0x7f, b'E', b'L', b'F', class, data, ..] = head else { return None };
    let machine = [*head.get(18)?, *head.get(19)?];
    let machine = if *data == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    Some(match (machine, class, data) {
        (62, 2, _) => "amd64",
        (183, 2, _) => "aarch64",
        (3, ..) => "i386",
        (40, ..) => "armv7",
        (21, _, 2) => "powerpc64",
        (21, ..) => "powerpc64le",
        (243, 2, _) => "riscv64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Option<sys::Installed> {
        let text = str::to_owned;
        Some(sys::Installed { machine: text("arm64"), arch: text("aarch64"), release: text("14.0-RELEASE-p3") })
    }

    #[test]
    fn what_is_not_asked_for_is_found() {
        let script = "#!/bin/sh\nUSERLAND_VERSION=\"14.1-RELEASE-p5\"\n";
        let (platform, found) = Platform::merge([None; 3], host(), Some(script)).unwrap();
        let text = str::to_owned;
        let expected = Platform { machine: text("arm64"), arch: text("aarch64"), version: text("14.1-RELEASE") };
        assert_eq!(platform, expected);
        assert_eq!(found.len(), 3);
        let (platform, found) = Platform::merge([Some("amd64"), Some("amd64"), None], host(), None).unwrap();
        assert_eq!((&*platform.arch, &*platform.version), ("amd64", "14.0-RELEASE"));
        assert_eq!(found, [("version", text("14.0-RELEASE"))]);
    }

    #[test]
    fn elsewhere_everything_is_asked_for() {
        let all = [Some("amd64"), Some("amd64"), Some("14.1-RELEASE")];
        assert!(Platform::merge(all, None, None).is_ok());
        let error = Platform::merge([all[0], None, all[2]], None, None).unwrap_err().to_string();
        assert_eq!(error, "--architecture is needed: no FreeBSD runs here whose arch could be taken");
        for bad in ["", "..", "a/b", "14.1-RELEASE?x", ".hidden"] {
            assert!(Platform::merge([Some(bad), all[1], all[2]], None, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn architectures() {
        assert_eq!(oci_architecture("aarch64").unwrap(), ("arm64", None));
        assert_eq!(oci_architecture("armv7").unwrap(), ("arm", Some("v7")));
        assert!(oci_architecture("sparc64").is_err());
        let mut head = *b"\x7fELF\x02\x01\x01\x09\0\0\0\0\0\0\0\0\x02\0\xb7\0";
        assert_eq!(elf_architecture(&head), Some("aarch64"));
        head[18] = 62;
        assert_eq!(elf_architecture(&head), Some("amd64"));
        assert_eq!(elf_architecture(b"#!/bin/sh"), None);
    }
}
