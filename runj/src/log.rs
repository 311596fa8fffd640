//! Log lines as runc writes them: text (`time="…" level=… msg="…"`) or one JSON object a line.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::Serialize;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `time="…" level=… msg="…"`
    Text,
    /// `{"level":"…","msg":"…","time":"…"}`
    Json,
}

/// Where lines go.
struct Logger {
    file: Option<File>,
    format: Format,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

#[derive(Serialize)]
struct JsonLine<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

/// Sends lines of `level` and above to a file, or without one to standard error.
pub fn init(path: Option<&Path>, format: Format, level: LevelFilter) -> std::io::Result<()> {
    let file = path.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
    if log::set_logger(LOGGER.get_or_init(|| Logger { file, format })).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Whether lines go to a file.
pub fn has_file() -> bool {
    LOGGER.get().is_some_and(|logger| logger.file.is_some())
}

fn line(format: Format, level: Level, message: &str, time: SystemTime) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let time = humantime::format_rfc3339_nanos(time).to_string();
    match format {
        Format::Text => format!("time={time:?} level={level} msg={message:?}\n"),
        Format::Json => {
            let line = JsonLine { level, msg: message, time: &time };
            serde_json::to_string(&line).map(|text| text + "\n").unwrap_or_default()
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(self.format, record.level(), &record.args().to_string(), SystemTime::now());
        // Where the log cannot be written there is nobody to tell.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(
            line(Format::Text, Level::Warn, "a \"b\"", time),
            "time=\"1970-01-01T00:00:01.000000000Z\" level=warning msg=\"a \\\"b\\\"\"\n"
        );
        assert_eq!(
            line(Format::Json, Level::Error, "a\nb", time),
            "{\"level\":\"error\",\"msg\":\"a\\nb\",\"time\":\"1970-01-01T00:00:01.000000000Z\"}\n"
        );
    }
}
