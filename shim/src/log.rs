//! The shim's own log: lines as containerd writes them, into the FIFO `log` of the bundle, which containerd reads.
//!
//! Nothing waits for a reader: a line that does not fit while containerd is away is lost.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Logger {
    fifo: File,
    /// What every line ends with.
    fields: String,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Sends lines of `level` and above to a FIFO. Both ends are held, so that no line meets a closed pipe.
pub fn init(fifo: &Path, level: LevelFilter, id: &str, namespace: &str) -> std::io::Result<()> {
    let fifo = OpenOptions::new().read(true).append(true).custom_flags(libc::O_NONBLOCK).open(fifo)?;
    let fields = format!("id={id} namespace={namespace} runtime={}", crate::NAME);
    if log::set_logger(LOGGER.get_or_init(|| Logger { fifo, fields })).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

fn line(level: Level, message: &str, fields: &str, time: SystemTime) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    format!("time=\"{}\" level={level} msg={message:?} {fields}\n", humantime::format_rfc3339_nanos(time))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let line = line(record.level(), &text, &self.fields, SystemTime::now());
            let _ = (&self.fifo).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let line = line(Level::Warn, "a \"b\"\nc", "id=x", SystemTime::UNIX_EPOCH);
        assert_eq!(line, "time=\"1970-01-01T00:00:00.000000000Z\" level=warning msg=\"a \\\"b\\\"\\nc\" id=x\n");
    }
}
