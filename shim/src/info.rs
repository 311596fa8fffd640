//! `-info`: the name, the version and the features of the runtime.

use std::io::{IsTerminal, Read, Write};

use protobuf::Message;
use protobuf::well_known_types::any::Any;

use crate::error::{Error, Result};
use crate::options::TaskOptions;
use crate::proto::introspection::{RuntimeInfo, RuntimeVersion};
use crate::reaper::Reaper;
use crate::runj::{self, Runj};

/// The type of `runj features`, as containerd registers it.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// The largest options on standard input, in bytes.
const MAX_INPUT: u64 = 10 << 20;

/// Answers on standard output.
pub async fn info() -> Result<()> {
    let mut input = Vec::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let read = stdin.lock().take(MAX_INPUT).read_to_end(&mut input);
        read.map_err(|error| Error::unknown(format!("standard input: {error}")))?;
    }
    let any = Any::parse_from_bytes(&input).map_err(|error| Error::invalid(format!("standard input: {error}")))?;
    let options = TaskOptions::parse(Some(&any))?;
    let runj = Runj {
        program: runj::find(options.program.as_deref())?,
        root: options.root.unwrap_or_else(|| crate::sys::STATE_DIRECTORY.into()),
        reaper: Reaper::start().map_err(|error| Error::unknown(error.to_string()))?,
    };
    let features = runj.call(&["features".as_ref()], None).await?;
    let info = RuntimeInfo {
        name: crate::NAME.to_owned(),
        version: Some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("RUNJ_REVISION").to_owned(),
            ..RuntimeVersion::default()
        })
        .into(),
        options: Some(any).filter(|any| !any.type_url.is_empty()).into(),
        features: Some(Any { type_url: FEATURES.to_owned(), value: features, ..Any::default() }).into(),
        ..RuntimeInfo::default()
    };
    let bytes = info.write_to_bytes().map_err(|error| Error::unknown(error.to_string()))?;
    std::io::stdout().write_all(&bytes).map_err(|error| Error::unknown(format!("standard output: {error}")))
}
