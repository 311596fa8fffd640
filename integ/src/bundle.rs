//! Bundles: a fixture's configuration, edited, beside a root filesystem made on the spot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Case, locate};

/// A bundle in the test's directory. Edits are written at once.
#[derive(Debug)]
pub struct Bundle {
    dir: PathBuf,
    config: Value,
}

impl Bundle {
    /// From a directory of `fixtures/`.
    #[track_caller]
    pub fn new(case: &Case, fixture: &str) -> Self {
        let source = locate::fixtures().join(fixture);
        let text = fs::read(source.join("config.json")).unwrap_or_else(|error| panic!("fixture {fixture}: {error}"));
        let config = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("fixture {fixture}: {error}"));
        let dir = case.path(&format!("bundle{}", case.number()));
        fs::create_dir(&dir).expect("bundle");
        let extension = source.join("runj.ext.json");
        if extension.exists() {
            fs::copy(extension, dir.join("runj.ext.json")).expect("runj.ext.json");
        }
        let bundle = Self { dir, config };
        for name in ["", "dev", "tmp", "proc", "etc", "data"] {
            fs::create_dir(bundle.in_root(name)).expect("root");
        }
        fs::set_permissions(bundle.in_root("tmp"), PermissionsExt::from_mode(0o1777)).expect("mode");
        // A hard link costs nothing; across file systems, a copy.
        let (inside, program) = (locate::inside().expect("integ-inside"), bundle.in_root("integ-inside"));
        if fs::hard_link(&inside, &program).is_err() {
            fs::copy(&inside, &program).expect("integ-inside in the root");
        }
        bundle.write()
    }

    /// With the bytes of a fixture that may be no JSON at all.
    #[track_caller]
    pub fn raw(case: &Case, fixture: &str) -> Self {
        let bundle = Self::new(case, "minimal");
        for name in ["config.json", "runj.ext.json"] {
            let source = locate::fixtures().join(fixture).join(name);
            if source.exists() {
                fs::copy(source, bundle.dir.join(name)).expect("fixture");
            }
        }
        bundle
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root filesystem.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// A path in the root filesystem, relative to it.
    pub fn in_root(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    fn write(self) -> Self {
        let mut config = self.config.clone();
        if !locate::is_runj() {
            crate::bundle::for_linux_runtimes(&mut config);
        }
        let text = serde_json::to_vec_pretty(&config).expect("JSON");
        fs::write(self.dir.join("config.json"), text).expect("config.json");
        self
    }

    /// Changes the configuration.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.config);
        self.write()
    }

    /// Sets a value by JSON pointer; what is missing on the way is made.
    #[must_use]
    #[track_caller]
    pub fn set(self, pointer: &str, value: Value) -> Self {
        self.edit(|config| {
            let mut place = config;
            for name in pointer.split('/').skip(1) {
                place = match name.parse::<usize>() {
                    Ok(index) if place.is_array() => &mut place[index],
                    _ => &mut place[name],
                };
            }
            *place = value;
        })
    }

    /// What integ-inside does in it.
    #[must_use]
    pub fn args<T: AsRef<str>>(self, check: &[T]) -> Self {
        let words = std::iter::once("/integ-inside").chain(check.iter().map(AsRef::as_ref));
        let words: Vec<&str> = words.collect();
        self.set("/process/args", json!(words))
    }

    /// Adds a mount.
    #[must_use]
    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        let entry = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.edit(|config| match config["mounts"].as_array_mut() {
            Some(list) => list.push(entry),
            None => config["mounts"] = json!([entry]),
        })
    }

    /// A mount of processes, where the mount table is to be looked at (Linux needs it; FreeBSD does not).
    #[must_use]
    pub fn with_proc(self) -> Self {
        if cfg!(target_os = "linux") { self.mount("/proc", "proc", "proc", &[]) } else { self }
    }

    /// Adds a hook that runs integ-inside on the host (or, for `startContainer`, in the jail).
    #[must_use]
    pub fn hook(self, kind: &str, check: &[&str]) -> Self {
        let path =
            if kind == "startContainer" { PathBuf::from("/integ-inside") } else { locate::inside().expect("inside") };
        let args: Vec<&str> = std::iter::once("integ-inside").chain(check.iter().copied()).collect();
        let entry = json!({"path": path, "args": args});
        self.edit(|config| match config["hooks"][kind].as_array_mut() {
            Some(list) => list.push(entry),
            None => config["hooks"][kind] = json!([entry]),
        })
    }

    /// Every path in the root filesystem, to see what a container left there.
    pub fn tree(&self) -> Vec<String> {
        fn below(root: &Path, directory: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                found.push(entry.path().strip_prefix(root).expect("below").to_string_lossy().into_owned());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    below(root, &entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        below(&self.root(), &self.root(), &mut found);
        found.sort();
        found
    }
}

/// The same in the words of runtimes that know only Linux: no `freebsd`, namespaces, bind for nullfs.
fn for_linux_runtimes(config: &mut Value) {
    if let Some(object) = config.as_object_mut() {
        object.remove("freebsd");
    }
    let kinds = ["pid", "mount", "uts", "ipc", "network"].map(|kind| json!({"type": kind}));
    config["linux"]["namespaces"] = json!(kinds);
    let mounts = config["mounts"].as_array().cloned().unwrap_or_default();
    let mut converted = vec![json!({"destination": "/proc", "type": "proc", "source": "proc"})];
    for mut mount in mounts {
        match mount["type"].as_str() {
            Some("devfs") => {
                mount = json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"});
                let pts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666", "mode=0620"]});
                converted.extend([mount, pts]);
                continue;
            }
            Some("fdescfs" | "proc" | "procfs" | "linprocfs") => continue,
            Some("nullfs") => {
                mount["type"] = json!("bind");
                let mut options = mount["options"].as_array().cloned().unwrap_or_default();
                options.push(json!("rbind"));
                mount["options"] = json!(options);
            }
            _ => {}
        }
        converted.push(mount);
    }
    config["mounts"] = json!(converted);
}
