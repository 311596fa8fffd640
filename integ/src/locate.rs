//! Where the programs under test and the fixtures are.

use std::fs;
use std::path::{Path, PathBuf};

/// A path from the environment.
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// cargo's directory of this profile (`target/debug`), from the place of the running test.
fn profile_directory() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let directory = test.parent()?;
    Some(if directory.ends_with("deps") { directory.parent()?.to_owned() } else { directory.to_owned() })
}

/// The runtime: `RUNJ_BIN`, else what cargo built.
pub fn runtime() -> Option<PathBuf> {
    if let Some(given) = variable("RUNJ_BIN") {
        return if given.is_absolute() || given.components().count() > 1 {
            fs::canonicalize(given).ok()
        } else {
            program(given.to_str()?)
        };
    }
    let path = profile_directory()?.join("runj");
    path.exists().then_some(path)
}

/// The shim that cargo built beside the runtime.
pub fn shim() -> Option<PathBuf> {
    let path = runtime()?.with_file_name("containerd-shim-runj-v1");
    path.exists().then_some(path)
}

/// Whether the runtime is runj and not another one that is compared with it.
pub fn is_runj() -> bool {
    runtime().is_none_or(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("runj")))
}

/// The static helper: `INTEG_INSIDE`, else the first static one that cargo built.
pub fn inside() -> Option<PathBuf> {
    if let Some(given) = variable("INTEG_INSIDE") {
        return fs::canonicalize(given).ok();
    }
    let profile = profile_directory()?;
    let target = profile.parent()?.to_owned();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let places = [
        profile.clone(),
        target.join("release"),
        target.join("debug"),
        target.join(&triple).join("release"),
        target.join(&triple).join("debug"),
    ];
    places.iter().map(|place| place.join("integ-inside")).find(|path| is_static(path) == Some(true))
}

/// The fixtures: `INTEG_FIXTURES`, else those of the source tree.
pub fn fixtures() -> PathBuf {
    variable("INTEG_FIXTURES").unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures"))
}

/// A program of the system, found in the usual places.
pub fn program(name: &str) -> Option<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/rescue"];
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists())
}

/// Whether an ELF file names no program interpreter (`PT_INTERP`); `None` if it is no 64-bit ELF file.
pub fn is_static(path: &Path) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let bytes = fs::read(path).ok()?;
    let number = |at: usize, length: usize| {
        let field = bytes.get(at..at + length)?;
        Some(field.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte)))
    };
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
    let kinds: Option<Vec<u64>> = (0..count).map(|index| number(table + index * size, 4)).collect();
    Some(!kinds?.contains(&u64::from(PT_INTERP)))
}
