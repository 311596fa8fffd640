//! `start`: makes the socket, starts the shim that serves it, and says where it is, to containerd 1.6 and newer.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use protobuf::Message;
use serde_json::json;

use crate::args::{Args, identifier};
use crate::proto::bootstrap::{BootstrapParams, BootstrapResult};
use crate::runj::null;
use crate::sys::{self, spawn};

/// The largest message on standard input, in bytes.
const MAX_INPUT: u64 = 10 << 20;

/// The longest path of a socket: `sun_path` of FreeBSD with its NUL.
const MAX_SOCKET: usize = 103;

/// The file of the bundle that holds the address, for containerd 1.6 and for `delete`.
pub const ADDRESS_FILE: &str = "address";

/// How containerd wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A message (2.3 and newer).
    Message,
    /// JSON (1.7 to 2.2).
    Json,
    /// The address alone (1.6).
    Plain,
}

/// What the shim is started with.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    /// The command line, completed.
    pub args: Args,
    /// containerd's ttrpc socket.
    pub ttrpc: Option<OsString>,
    /// Where the shim's socket is to be.
    pub socket_directory: PathBuf,
    /// How the answer is wanted.
    pub dialect: Dialect,
}

/// Starts the shim.
pub fn start(args: Args) -> Result<(), String> {
    let mut input = Vec::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        stdin.lock().take(MAX_INPUT).read_to_end(&mut input).map_err(|error| format!("standard input: {error}"))?;
    }
    let json = std::env::var_os("MAX_SHIM_VERSION").is_some();
    let wish = understand(args, &input, std::env::var_os("TTRPC_ADDRESS"), json)?;
    let socket = socket_path(&wish.socket_directory)?;
    let listener = listen(&socket)?;
    let address = format!("unix://{}", socket.display());
    let served = serve(&wish, &listener).and_then(|()| {
        std::fs::write(ADDRESS_FILE, &address).map_err(|error| format!("{ADDRESS_FILE}: {error}"))?;
        let answer = answer(wish.dialect, &address)?;
        let mut out = std::io::stdout().lock();
        out.write_all(&answer).and_then(|()| out.flush()).map_err(|error| format!("standard output: {error}"))
    });
    if served.is_err() {
        let _ = std::fs::remove_file(&socket);
    }
    served
}

/// Reads what containerd says, the old way or the new one.
pub fn understand(mut args: Args, input: &[u8], ttrpc: Option<OsString>, json: bool) -> Result<Wish, String> {
    let given = |text: String| Some(OsString::from(text)).filter(|text| !text.is_empty());
    let mut wish = Wish {
        args: args.clone(),
        ttrpc: ttrpc.filter(|address| !address.is_empty()),
        socket_directory: Path::new(sys::STATE_DIRECTORY).join("s"),
        dialect: if json { Dialect::Json } else { Dialect::Plain },
    };
    // What older ones send (options) parses too, but it names another container, since it begins with a type.
    let params = BootstrapParams::parse_from_bytes(input).ok().filter(|params| {
        let fits = |flag: &str, value: &str| flag == value || (flag.is_empty() && !value.is_empty());
        fits(&args.id, &params.instance_id) && fits(&args.namespace, &params.namespace)
    });
    if let Some(params) = params.filter(|_| !input.is_empty()) {
        args.id = params.instance_id;
        args.namespace = params.namespace;
        args.debug |= params.log_level.value() < 0;
        args.address = given(params.containerd_grpc_address).unwrap_or(args.address);
        args.publish_binary = given(params.containerd_binary).unwrap_or(args.publish_binary);
        wish.ttrpc = given(params.containerd_ttrpc_address).or(wish.ttrpc);
        if let Some(directory) = params.socket_dir.filter(|directory| !directory.is_empty()) {
            wish.socket_directory = directory.into();
        }
        wish.dialect = Dialect::Message;
        wish.args = args;
    }
    identifier("namespace", &wish.args.namespace)?;
    identifier("id", &wish.args.id)?;
    Ok(wish)
}

/// A name that nobody else has; which one does not matter, since containerd notes it.
fn socket_path(directory: &Path) -> Result<PathBuf, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let path = directory.join(format!("runj-{}-{:x}", std::process::id(), now.as_nanos()));
    if path.as_os_str().len() > MAX_SOCKET {
        return Err(format!("{}: longer than a socket's address, {MAX_SOCKET} bytes", path.display()));
    }
    Ok(path)
}

fn listen(socket: &Path) -> Result<UnixListener, String> {
    let words = |error: std::io::Error| format!("{}: {error}", socket.display());
    let directory = socket.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(words)?;
    let listener = UnixListener::bind(socket).map_err(words)?;
    // The mode of a socket cannot be given when it is made; its directory is root's alone.
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600)).map_err(words)?;
    Ok(listener)
}

/// Starts this program once more, as the shim.
fn serve(wish: &Wish, listener: &UnixListener) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let null = null().map_err(|error| format!("/dev/null: {error}"))?;
    let args = &wish.args;
    let mut words: Vec<&OsStr> = Vec::new();
    words.extend(["-namespace".as_ref(), args.namespace.as_ref(), "-id".as_ref(), args.id.as_ref()] as [&OsStr; 4]);
    words.extend(["-address".as_ref(), args.address.as_os_str()] as [&OsStr; 2]);
    words.extend(["-publish-binary".as_ref(), args.publish_binary.as_os_str()] as [&OsStr; 2]);
    if args.debug {
        words.push("-debug".as_ref());
    }
    let words: Vec<&[u8]> = words.into_iter().map(OsStr::as_bytes).collect();
    let env: Vec<(&str, &[u8])> = wish.ttrpc.iter().map(|address| ("TTRPC_ADDRESS", address.as_bytes())).collect();
    let fds = [null.as_fd(), null.as_fd(), null.as_fd(), listener.as_fd()];
    let started = spawn::spawn(&own, &words, &env, &fds, spawn::Group::Own);
    started.map(drop).map_err(|errno| format!("{}: {}", own.display(), errno.desc()))
}

fn answer(dialect: Dialect, address: &str) -> Result<Vec<u8>, String> {
    let protocol = "ttrpc";
    match dialect {
        Dialect::Plain => Ok(address.as_bytes().to_vec()),
        Dialect::Json => Ok(json!({ "version": 2, "address": address, "protocol": protocol }).to_string().into_bytes()),
        Dialect::Message => {
            let result = BootstrapResult {
                version: 3,
                address: address.to_owned(),
                protocol: protocol.to_owned(),
                ..BootstrapResult::default()
            };
            result.write_to_bytes().map_err(|error| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use protobuf::well_known_types::any::Any;

    use super::*;
    use crate::proto::oci;

    fn args(line: &str) -> Args {
        Args::parse(line.split_whitespace().map(OsString::from)).unwrap()
    }

    const LEGACY: &str = "-namespace n -id c -address /grpc -publish-binary /bin/containerd start";

    #[test]
    fn the_old_way() {
        let options = oci::Options { root: "/r".into(), ..Default::default() };
        let any = Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        };
        for input in [Vec::new(), any.write_to_bytes().unwrap()] {
            let wish = understand(args(LEGACY), &input, Some("/ttrpc".into()), true).unwrap();
            assert_eq!((wish.dialect, wish.ttrpc.as_deref()), (Dialect::Json, Some(OsStr::new("/ttrpc"))));
            assert_eq!(wish.args, args(LEGACY));
        }
        assert_eq!(understand(args(LEGACY), &[], None, false).unwrap().dialect, Dialect::Plain);
        assert!(understand(args("start"), &[], None, true).unwrap_err().starts_with("-namespace"));
    }

    #[test]
    fn the_new_way() {
        let params = BootstrapParams {
            instance_id: "c".into(),
            namespace: "n".into(),
            log_level: protobuf::EnumOrUnknown::from_i32(-4),
            containerd_ttrpc_address: "/t".into(),
            containerd_grpc_address: "/g".into(),
            socket_dir: Some("/short".into()),
            ..Default::default()
        };
        let input = params.write_to_bytes().unwrap();
        for line in [LEGACY, "start"] {
            let wish = understand(args(line), &input, Some("/old".into()), true).unwrap();
            assert_eq!((wish.args.id.as_str(), wish.args.namespace.as_str()), ("c", "n"));
            assert_eq!((wish.dialect, wish.args.debug), (Dialect::Message, true));
            assert_eq!((wish.ttrpc, wish.args.address), (Some("/t".into()), "/g".into()));
            assert_eq!(wish.socket_directory, Path::new("/short"));
        }
    }

    #[test]
    fn answers() {
        assert_eq!(answer(Dialect::Plain, "unix:///s").unwrap(), b"unix:///s");
        let json: serde_json::Value = serde_json::from_slice(&answer(Dialect::Json, "unix:///s").unwrap()).unwrap();
        assert_eq!(json, json!({"version": 2, "address": "unix:///s", "protocol": "ttrpc"}));
        let message = BootstrapResult::parse_from_bytes(&answer(Dialect::Message, "unix:///s").unwrap()).unwrap();
        assert_eq!((message.version, message.address.as_str(), message.protocol.as_str()), (3, "unix:///s", "ttrpc"));
    }

    #[test]
    fn a_socket_directory_that_is_too_long() {
        assert!(socket_path(Path::new(&format!("/{}", "x".repeat(90)))).unwrap_err().contains("longer than"));
        assert!(socket_path(Path::new(sys::STATE_DIRECTORY)).is_ok());
    }
}
