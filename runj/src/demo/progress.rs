//! How far a long work is: a bar on a terminal, a line at each tenth elsewhere, or nothing. On standard error, since
//! standard output is for results.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::sys::unix::window_size;

/// How often a bar is drawn.
const PERIOD: Duration = Duration::from_millis(100);

/// How much of it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A bar that is drawn again and again.
    Bar,
    /// A line now and then.
    Lines,
    /// Nothing.
    Quiet,
}

impl Style {
    /// A bar if standard error is a terminal that understands it.
    pub fn new(quiet: bool) -> Self {
        let terminal = nix::unistd::isatty(std::io::stderr()) == Ok(true);
        match (quiet, terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Bar,
            (_, false) => Self::Lines,
        }
    }
}

/// A work of so many bytes.
pub struct Progress {
    label: String,
    style: Style,
    done: u64,
    total: Option<u64>,
    /// What was there before it began: it counts for the share, not for the speed.
    before: u64,
    began: Instant,
    drawn: Option<Instant>,
    tenth: u64,
}

impl Progress {
    /// A work that begins now; `before` bytes of it were there already.
    pub fn new(label: &str, style: Style, before: u64, total: Option<u64>) -> Self {
        let tenth = total.map_or(0, |total| tenths(before, total));
        Self { label: label.to_owned(), style, done: before, total, before, began: Instant::now(), drawn: None, tenth }
    }

    /// Some more is done.
    pub fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        match self.style {
            Style::Bar if self.drawn.is_none_or(|drawn| drawn.elapsed() >= PERIOD) => self.draw(),
            Style::Lines => {
                let tenth = self.total.map_or(0, |total| tenths(self.done, total));
                if tenth > self.tenth {
                    self.tenth = tenth;
                    print(&format!("{}\n", self.text()));
                }
            }
            _ => {}
        }
    }

    /// Nothing more comes of it; a bar makes room for other lines.
    pub fn end(&mut self) {
        if self.style == Style::Bar && self.drawn.is_some() {
            self.draw();
            print("\n");
            self.drawn = None;
        }
    }

    fn draw(&mut self) {
        self.drawn = Some(Instant::now());
        let columns = window_size(std::io::stderr().as_fd()).map_or(80, |(_, columns)| usize::from(columns));
        print(&format!("\r{}\x1b[K", line(&self.text(), self.done, self.total, columns)));
    }

    fn text(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        // As exact as it is shown.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let speed = ((self.done - self.before) as f64 / seconds) as u64;
        let label = &self.label;
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let share = self.done.saturating_mul(100) / total;
                format!("{label}: {share}% of {}, {}/s", size(total), size(speed))
            }
            None => format!("{label}: {}, {}/s", size(self.done), size(speed)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// The text with a bar behind it, as the terminal's width allows.
fn line(text: &str, done: u64, total: Option<u64>, columns: usize) -> String {
    let room = columns.saturating_sub(text.chars().count() + 4).min(40);
    let Some(total) = total.filter(|total| *total > 0 && room >= 5) else {
        return text.chars().take(columns.saturating_sub(1)).collect();
    };
    let full = usize::try_from(done.min(total).saturating_mul(room as u64) / total).unwrap_or(room);
    format!("{text} [{}{}]", "=".repeat(full), " ".repeat(room - full))
}

fn tenths(done: u64, total: u64) -> u64 {
    done.min(total).saturating_mul(10).checked_div(total).unwrap_or(0)
}

fn print(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut whole, mut unit, mut rest) = (bytes, 0, 0);
    while whole >= 1024 && unit < UNITS.len() {
        (rest, whole, unit) = (whole % 1024, whole / 1024, unit + 1);
    }
    format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(190 << 20), "190.0 MiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn a_bar_fits_its_terminal() {
        assert_eq!(line("x: 50%", 50, Some(100), 20), "x: 50% [=====     ]");
        assert_eq!(line("x: 50%", 50, Some(100), 12), "x: 50%");
        assert_eq!(line("x: 50%", 50, Some(100), 4), "x: ");
        assert_eq!(line("x", 200, Some(100), 15), "x [==========]");
        assert_eq!(line("x: 5 B", 5, None, 80), "x: 5 B");
    }
}
