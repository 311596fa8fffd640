//! The command line, as containerd has it: Go's flags, then perhaps a word. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What the program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `-v`: print the version.
    Version,
    /// `-info`: print what containerd is to know.
    Info,
    /// `start`: start a shim.
    Start,
    /// `delete`: clean up after a shim that is gone.
    Delete,
    /// Be the shim.
    Serve,
}

/// The command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub action: Action,
    /// The containerd namespace.
    pub namespace: String,
    /// The container's id.
    pub id: String,
    /// containerd's grpc socket.
    pub address: OsString,
    /// The program that publishes events.
    pub publish_binary: OsString,
    /// The bundle, where it is not the working directory.
    pub bundle: Option<OsString>,
    /// Whether everything is to be logged.
    pub debug: bool,
}

impl Args {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    ///
    /// Words about what is not understood or missing.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = Self {
            action: Action::Serve,
            namespace: String::new(),
            id: String::new(),
            address: OsString::new(),
            publish_binary: OsString::new(),
            bundle: None,
            debug: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(flag) = flag(&word) else {
                args.action = match word.to_str() {
                    Some("start") => Action::Start,
                    Some("delete") => Action::Delete,
                    _ => return Err(format!("{}: not an action: start, delete", word.to_string_lossy())),
                };
                if let Some(word) = words.next() {
                    return Err(format!("{}: a word too many", word.to_string_lossy()));
                }
                break;
            };
            let (name, value) = match flag.iter().position(|&byte| byte == b'=') {
                Some(at) => (&flag[..at], Some(OsStr::from_bytes(&flag[at + 1..]).to_owned())),
                None => (flag, None),
            };
            let name = String::from_utf8_lossy(name).into_owned();
            if matches!(name.as_str(), "v" | "version" | "info" | "debug") {
                let given = value.is_none_or(|value| value != "false" && value != "0");
                match name.as_str() {
                    "debug" => args.debug = given,
                    "info" if given => args.action = Action::Info,
                    _ if given => args.action = Action::Version,
                    _ => {}
                }
                // These need nothing else.
                if matches!(args.action, Action::Info | Action::Version) {
                    return Ok(args);
                }
                continue;
            }
            let mut value = || value.clone().or_else(|| words.next()).ok_or_else(|| format!("-{name}: needs a value"));
            match name.as_str() {
                "namespace" => args.namespace = text(&name, value()?)?,
                "id" => args.id = text(&name, value()?)?,
                "address" => args.address = value()?,
                "publish-binary" => args.publish_binary = value()?,
                "bundle" => args.bundle = Some(value()?).filter(|bundle| !bundle.is_empty()),
                // Of use to other shims.
                "socket" | "debug-socket" => drop(value()?),
                _ => return Err(format!("-{name}: not a flag")),
            }
        }
        args.check()
    }

    /// Both become parts of paths.
    fn check(self) -> Result<Self, String> {
        // With containerd's bootstrap message, both may come that way alone.
        let may_lack = self.action == Action::Start;
        for (name, value) in [("namespace", &self.namespace), ("id", &self.id)] {
            if !(value.is_empty() && may_lack) {
                identifier(name, value)?;
            }
        }
        Ok(self)
    }
}

/// Checks an identifier of containerd's: letters and digits, between them single `.`, `_` or `-`, at most 76 in all.
pub fn identifier(name: &str, value: &str) -> Result<(), String> {
    let parts_sound = value
        .split(['.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if parts_sound && value.len() <= 76 {
        return Ok(());
    }
    Err(format!("-{name} {value:?}: not an identifier: letters and digits, between them single . _ -, at most 76"))
}

/// A flag without its one or two dashes.
fn flag(word: &OsStr) -> Option<&[u8]> {
    let one = word.as_bytes().strip_prefix(b"-").filter(|rest| !rest.is_empty())?;
    Some(one.strip_prefix(b"-").unwrap_or(one))
}

fn text(name: &str, value: OsString) -> Result<String, String> {
    String::from_utf8(value.into_vec()).map_err(|_| format!("-{name}: not UTF-8"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn as_containerd_calls() {
        let line =
            "-namespace default -address /a.sock -publish-binary /bin/containerd -id c1 -bundle /b -debug delete";
        let args = parse(line).unwrap();
        assert_eq!(args.action, Action::Delete);
        assert_eq!((args.namespace.as_str(), args.id.as_str()), ("default", "c1"));
        assert_eq!((args.address, args.publish_binary), ("/a.sock".into(), "/bin/containerd".into()));
        assert_eq!((args.bundle, args.debug), (Some("/b".into()), true));
        assert_eq!(parse("--namespace=n -id=c --debug=false").unwrap().action, Action::Serve);
        assert_eq!(parse("start").unwrap().action, Action::Start);
        assert_eq!(parse("-v").unwrap().action, Action::Version);
        assert_eq!(parse("-info").unwrap().action, Action::Info);
    }

    #[rstest]
    #[case("-namespace", "-namespace: needs a value")]
    #[case("-namespace n -id c stop", "stop: not an action")]
    #[case("-namespace n -id c start x", "x: a word too many")]
    #[case("-frob", "-frob: not a flag")]
    #[case("-namespace n", "-id \"\": not an identifier")]
    #[case("-namespace .. -id c", "-namespace \"..\": not an identifier")]
    #[case("-namespace n -id a/b delete", "-id \"a/b\": not an identifier")]
    #[case("-namespace n -id a--b", "-id \"a--b\": not an identifier")]
    fn refused(#[case] line: &str, #[case] words: &str) {
        let error = parse(line).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}
