//! `delete`: what containerd runs when it has lost a shim, and after every one that has left: releases whatever is
//! recorded in the bundle.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use protobuf::Message;

use crate::args::Args;
use crate::bootstrap::ADDRESS_FILE;
use crate::error::{Error, Result};
use crate::events::timestamp;
use crate::proto::shim::DeleteResponse;
use crate::reaper::Reaper;
use crate::record::Record;
use crate::rootfs::unmount_all;
use crate::runj::Runj;

/// The exit status of a container whose own is lost: it was killed.
const KILLED: u32 = 137;

/// Cleans up and answers on standard output.
pub async fn delete(args: &Args) -> Result<()> {
    let bundle = match &args.bundle {
        Some(bundle) => PathBuf::from(bundle),
        None => std::env::current_dir().map_err(|error| Error::file(Path::new("."), error))?,
    };
    if let Some(record) = Record::read(&bundle)? {
        release(&args.id, &record).await?;
        record.remove(&bundle);
    }
    remove_socket(&bundle);
    let response = DeleteResponse {
        exit_status: KILLED,
        exited_at: Some(timestamp(SystemTime::now())).into(),
        ..DeleteResponse::default()
    };
    let bytes = response.write_to_bytes().map_err(|error| Error::unknown(error.to_string()))?;
    std::io::stdout().write_all(&bytes).map_err(|error| Error::unknown(format!("standard output: {error}")))
}

async fn release(id: &str, record: &Record) -> Result<()> {
    let reaper = Reaper::start().map_err(|error| Error::unknown(error.to_string()))?;
    let runj = Runj { program: record.program.clone(), root: record.root.clone(), reaper };
    let args: [&OsStr; 3] = ["delete".as_ref(), "--force".as_ref(), id.as_ref()];
    let deleted = runj.call(&args, None).await.map(drop).map_err(Error::from);
    // The mounts go even if runj cannot: the next attempt finds nothing there, which is no error.
    let unmounted = unmount_all(record.mounts.iter().rev().map(PathBuf::as_path)).await;
    deleted.and(unmounted)
}

fn remove_socket(bundle: &Path) {
    let address = std::fs::read_to_string(bundle.join(ADDRESS_FILE)).unwrap_or_default();
    if let Some(socket) = address.strip_prefix("unix://") {
        // The shim has removed it if it had the time.
        let _ = std::fs::remove_file(socket);
    }
}
