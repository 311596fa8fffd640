//! The options of a task: which runj, which state directory, which `runj.ext.json`. Pure but for reading that file.

use std::path::{Path, PathBuf};

use protobuf::Message;
use protobuf::well_known_types::any::Any;

use crate::error::{Error, Result};
use crate::proto::{api, oci};

/// The largest `runj.ext.json`, in bytes.
const MAX_EXT: u64 = 1 << 20;

/// What a task is to be run with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskOptions {
    /// The runtime, a path or a name.
    pub program: Option<String>,
    /// The directory below which its state lives, for all namespaces.
    pub root: Option<PathBuf>,
    /// The content of `runj.ext.json`.
    pub ext: Option<Vec<u8>>,
}

impl TaskOptions {
    /// Reads the options that containerd hands over: `runtimeoptions.v1.Options` (`ctr --runtime-config-path`,
    /// `options` in containerd's configuration) or `containerd.runc.v1.Options`, of which the name of the program and
    /// the state directory are taken.
    ///
    /// # Errors
    ///
    /// Options of another type, which would otherwise be left out silently; a file that cannot be read.
    pub fn parse(any: Option<&Any>) -> Result<Self> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else { return Ok(Self::default()) };
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let broken = |error: protobuf::Error| Error::invalid(format!("task options of type {name}: {error}"));
        match name {
            "runtimeoptions.v1.Options" => {
                let options = api::Options::parse_from_bytes(&any.value).map_err(broken)?;
                let ext = match (options.config_path.as_str(), options.config_body) {
                    ("", body) => Some(body).filter(|body| !body.is_empty()),
                    (path, _) => Some(read(Path::new(path))?),
                };
                Ok(Self { ext, ..Self::default() })
            }
            "containerd.runc.v1.Options" => {
                let options = oci::Options::parse_from_bytes(&any.value).map_err(broken)?;
                let given = |text: String| Some(text).filter(|text| !text.is_empty());
                Ok(Self { program: given(options.binary_name), root: given(options.root).map(Into::into), ext: None })
            }
            _ => Err(Error::invalid(format!(
                "task options of type {name}: understood are runtimeoptions.v1.Options and containerd.runc.v1.Options"
            ))),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
    if !metadata.is_file() || metadata.len() > MAX_EXT {
        return Err(Error::invalid(format!("{}: not a file of at most {MAX_EXT} bytes", path.display())));
    }
    std::fs::read(path).map_err(|error| Error::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str, message: &impl Message) -> Any {
        Any { type_url: name.to_owned(), value: message.write_to_bytes().unwrap(), ..Any::default() }
    }

    #[test]
    fn the_types_that_are_understood() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runj.ext.json");
        std::fs::write(&file, "{}").unwrap();
        let path = api::Options { config_path: file.to_string_lossy().into_owned(), ..Default::default() };
        let body = api::Options { config_body: b"{\"a\":1}".to_vec(), ..Default::default() };
        let runc = oci::Options { binary_name: "/x/runj".into(), root: "/r".into(), ..Default::default() };
        let parse = |any: Any| TaskOptions::parse(Some(&any)).unwrap();
        assert_eq!(parse(any("runtimeoptions.v1.Options", &path)).ext.unwrap(), b"{}");
        assert_eq!(parse(any("type.googleapis.com/runtimeoptions.v1.Options", &body)).ext.unwrap(), b"{\"a\":1}");
        let options = parse(any("containerd.runc.v1.Options", &runc));
        assert_eq!((options.program.as_deref(), options.root), (Some("/x/runj"), Some("/r".into())));
        assert_eq!(TaskOptions::parse(None).unwrap(), TaskOptions::default());
    }

    #[test]
    fn others_are_refused_in_words() {
        let refused = |any: Any| TaskOptions::parse(Some(&any)).unwrap_err().text;
        let text = refused(any("kata.Options", &api::Options::default()));
        assert!(text.starts_with("task options of type kata.Options: understood are"), "{text}");
        let missing = api::Options { config_path: "/nowhere".into(), ..Default::default() };
        assert!(refused(any("runtimeoptions.v1.Options", &missing)).starts_with("/nowhere: "));
        let broken = Any { type_url: "containerd.runc.v1.Options".into(), value: vec![255], ..Any::default() };
        assert!(refused(broken).contains("containerd.runc.v1.Options"));
    }
}
