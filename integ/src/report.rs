//! What became of each test, for the summary: one line in the file that `INTEG_REPORT` names.
//!
//! A line is `STATUS<TAB>TEST<TAB>SECONDS<TAB>REASON`; the statuses are `passed`, `failed`, `skipped` (could run
//! on a machine that has what is missing) and `inapplicable` (could not by the nature of the system).

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

/// Notes an outcome.
pub fn note(status: &str, test: &str, time: Duration, reason: &str) {
    let Some(path) = crate::locate::variable("INTEG_REPORT") else {
        return;
    };
    let binary = std::env::current_exe().ok();
    let binary = binary.as_deref().and_then(std::path::Path::file_stem).unwrap_or_default().to_string_lossy();
    let binary = binary.rsplit_once('-').map_or(&*binary, |(name, _)| name).to_owned();
    let line = format!("{status}\t{binary}::{test}\t{:.2}\t{}\n", time.as_secs_f64(), reason.replace('\n', " "));
    let file = OpenOptions::new().append(true).create(true).open(path);
    // One write, since test programs may run at once.
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}
