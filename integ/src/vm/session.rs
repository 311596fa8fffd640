//! The conversation with a guest: reach a shell, bring the payload in, run the command, leave.
//!
//! Once there is a shell, the guest runs a loop that reads a line and evaluates it, without prompt, echo or line
//! editing. Every line we type ends by printing a mark (see `scan`), and is shorter than the 255 bytes that a FreeBSD
//! terminal takes.

use super::boot::{Boot, Failure, PanicWatch, Step};
use super::machine::{Input, Machine};
use super::options::{Accelerator, Options};
use super::payload::Payload;
use super::scan::{Lines, Piece, Returns, Scanner};
use super::terminal::{self, RawTerminal};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

/// A prompt is complete when nothing follows it for this long.
const QUIET: Duration = Duration::from_millis(300);
/// After this long without a word, a prompt may have been overwritten: ask for a new one.
const NUDGE: Duration = Duration::from_secs(10);
/// A machine under KVM that has printed nothing after this long does not work.
const SILENT: Duration = Duration::from_secs(20);
/// For the short commands of our own.
const SHORT: Duration = Duration::from_secs(60);
/// For the guest to power off; after that it is simply ended.
const POWER_OFF: Duration = Duration::from_secs(15);
/// Lines of the console that are shown with an error.
const SHOWN_LINES: usize = 25;
/// What a terminal line may hold.
const LONGEST_LINE: usize = 240;

/// KVM is there, and does not work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Silent(String);

/// A machine and what was said so far.
pub struct Session<'a> {
    machine: Machine,
    options: &'a Options,
    accelerator: Accelerator,
    nonce: String,
    sequence: u32,
    scanner: Scanner,
    lines: Lines,
    panic: PanicWatch,
    console: VecDeque<String>,
    directory: String,
    mark: String,
}

impl<'a> Session<'a> {
    /// A session with a machine that has just been started.
    pub fn new(machine: Machine, options: &'a Options, accelerator: Accelerator) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nonce = format!("{:08x}", now.subsec_nanos() ^ std::process::id().rotate_left(16));
        Self {
            machine,
            options,
            accelerator,
            scanner: Scanner::new(&nonce),
            nonce,
            sequence: 0,
            lines: Lines::default(),
            panic: PanicWatch::default(),
            console: VecDeque::new(),
            directory: String::new(),
            mark: String::new(),
        }
    }

    /// Boots until a root shell answers.
    pub fn reach_shell(&mut self) -> Result<()> {
        let started = Instant::now();
        let deadline = started + self.options.boot_time();
        let mut boot = Boot::new(&self.nonce, &self.options.loader_set);
        let mut heard = None;
        let mut nudged = started;
        let mut asked = false;
        loop {
            let input = self.machine.next(QUIET);
            let steps = match input {
                Some(Input::Serial(bytes)) => {
                    (heard, asked) = (Some(Instant::now()), false);
                    self.remember(&bytes);
                    boot.feed(&bytes)
                }
                Some(Input::Ended) => return Err(self.ended_early("gave a shell")),
                Some(Input::Typed(_) | Input::TypedEnd) => Vec::new(),
                None if !asked && heard.is_some() => {
                    asked = true;
                    boot.quiet()
                }
                None => Vec::new(),
            };
            for step in steps {
                match step {
                    Step::Send(text) => self.machine.send(text.as_bytes())?,
                    Step::Failed(failure) => return Err(self.boot_failed(failure)),
                    Step::Shell => {
                        let seconds = started.elapsed().as_secs_f32();
                        eprintln!("vm: a shell after {seconds:.1} s ({})", self.accelerator);
                        return self.take_over();
                    }
                }
            }
            let now = Instant::now();
            if heard.is_none() && self.accelerator == Accelerator::Kvm && now > started + SILENT {
                return Err(Silent(format!("the machine printed nothing within {} s", SILENT.as_secs())).into());
            }
            if now > deadline {
                return Err(self.with_console(format!(
                    "no prompt on the serial line within {} s (--boot-timeout)",
                    self.options.boot_timeout
                )));
            }
            if heard.is_some_and(|heard| now > heard.max(nudged) + NUDGE) {
                nudged = now;
                self.machine.send(boot.nudge().as_bytes())?;
            }
        }
    }

    /// Replaces whatever shell answered by the loop that evaluates our lines.
    fn take_over(&mut self) -> Result<()> {
        self.type_line("exec /bin/sh -c 'stty -echo;while :;do read -r l&&eval \"$l\";done'")?;
        // The line of the first question may be read by the shell that is being replaced; ask again until an answer.
        for _ in 0..10 {
            if let Some((0, _)) = self.exchange(":", Duration::from_secs(6))? {
                return Ok(());
            }
        }
        Err(self.with_console("the guest's shell does not answer".to_owned()))
    }

    /// Finds the payload's disk and unpacks it in a directory with enough room.
    pub fn unpack(&mut self, payload: &Payload) -> Result<()> {
        self.mark = payload.mark().to_owned();
        let needed = (payload.size() >> 10) + 1024;
        let mut most = None;
        let places = ["/var/tmp", "/tmp", "/root", "/mnt"];
        let mut found = false;
        for place in places.iter().chain(["tmpfs"].iter()) {
            let place = if *place == "tmpfs" {
                // a read-only or crowded root, but memory to spare
                if self.ask("mount -t tmpfs tmpfs /mnt 2>/dev/null")?.0 != 0 {
                    continue;
                }
                "/mnt"
            } else {
                place
            };
            let directory = format!("{place}/runj-vm");
            let (status, text) = self.ask(&format!("mkdir -p {directory}&&cd {directory}&&>w&&df -k . 2>/dev/null"))?;
            if status != 0 && text.contains("mkdir") || self.ask("[ -f w ]")?.0 != 0 {
                continue;
            }
            match available(&text) {
                Some(free) if free < needed => most = most.max(Some(free)),
                _ => {
                    self.directory = directory;
                    found = true;
                    break;
                }
            }
        }
        match (found, most) {
            (true, _) => {}
            (false, Some(free)) => bail!(
                "payload too large: {} MiB, and the guest has at most {} MiB free; give it more --memory or a larger disk",
                needed >> 10,
                free >> 10
            ),
            (false, None) => bail!("the guest has no directory to write to ({}, or a tmpfs)", places.join(", ")),
        }

        self.ask(&format!("m={}", self.mark))?;
        let (status, disk) = self.ask(
            "for d in vtbd1 vtbd0 vtbd2 vtbd3 vdb vda vdc vdd;do [ -e /dev/$d ]&&\
             case \"$(dd if=/dev/$d bs=512 count=1 2>/dev/null)\" in $m*)echo $d;break;;esac;done",
        )?;
        let disk = disk.trim();
        if status != 0 || disk.is_empty() {
            let (_, devices) = self.ask("ls /dev")?;
            bail!(
                "the guest does not see the payload's disk (no virtio driver?); its devices: {}",
                devices.split_whitespace().collect::<Vec<_>>().join(" ")
            );
        }
        let command = format!("tar -xof /dev/{disk} 2>&1");
        let unpacking = Duration::from_secs(600);
        let (status, text) =
            self.exchange(&command, unpacking)?.context("the guest did not unpack the payload in time")?;
        if status != 0 {
            bail!("the guest could not unpack the payload ({status}): {}", text.trim());
        }
        Ok(())
    }

    /// Runs the command with its output to `output`; its exit status.
    pub fn run_script(&mut self, output: &mut dyn Write) -> Result<u8> {
        let command = format!("cd {};sh ./{}/run </dev/null", self.directory, self.mark);
        self.converse(&command, output, Forward::Nothing, Some(Instant::now() + self.options.command_time()))
    }

    /// Connects the guest's shell with our terminal until that shell ends or Ctrl-] is typed.
    pub fn interactive(&mut self, output: &mut dyn Write) -> Result<u8> {
        eprintln!("vm: a shell in {}; Ctrl-] ends the machine", self.directory);
        let size = terminal::size().map(|size| format!(" {size}")).unwrap_or_default();
        let command = format!("cd {};stty sane{size};TERM=vt100 sh -i;(r=$?;stty -echo;exit $r)", self.directory);
        let raw = RawTerminal::enter();
        self.scanner.set_returns(if raw.is_some() { Returns::Keep } else { Returns::Drop });
        let status = self.converse(&command, output, Forward::Terminal, None);
        drop(raw);
        status
    }

    /// Asks the guest to end, and ends it if it does not.
    pub fn power_off(mut self) {
        // FreeBSD, Linux, and what is left, all without waiting for processes: a snapshot has nothing to lose. Whatever
        // fails, the machine is ended all the same.
        let freebsd = "sysctl kern.shutdown.poweroff_delay=1 >/dev/null 2>&1&&halt -qp";
        let _ = self.type_line(&format!("{freebsd}||poweroff -f 2>/dev/null||shutdown -p now"));
        if !self.machine.wait(POWER_OFF) {
            eprintln!("vm: the guest did not power off; ended it");
        }
    }

    /// Runs a line, streams what it prints, and returns its status.
    fn converse(
        &mut self,
        command: &str,
        output: &mut dyn Write,
        forward: Forward,
        mut deadline: Option<Instant>,
    ) -> Result<u8> {
        let begin = self.next_sequence();
        let end = self.next_sequence();
        let nonce = &self.nonce;
        // Twice: a message of the kernel may break one mark.
        let line =
            format!(":;echo @@{nonce}:{begin}:$?@@;{command};s=$?;echo @@{nonce}:{end}:$s@@;echo @@{nonce}:{end}:$s@@");
        self.type_line(&line)?;
        if forward == Forward::Terminal {
            self.machine.listen_to_terminal();
        }
        let mut begun = false;
        let mut typed_end = false;
        loop {
            let mut wait = deadline
                .map_or(Duration::from_secs(3600), |deadline| deadline.saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                bail!("the command did not end within {} s (--timeout)", self.options.timeout);
            }
            if typed_end {
                // A shell that edits its line may miss one, while it changes the terminal's mode.
                self.machine.send(b"\x04")?;
                wait = wait.min(Duration::from_secs(1));
            }
            let bytes = match self.machine.next(wait) {
                Some(Input::Serial(bytes)) => bytes,
                Some(Input::Ended) => {
                    let rest = self.scanner.finish();
                    output.write_all(&rest).context("write the guest's output")?;
                    return Err(self.ended_early("finished the command"));
                }
                Some(Input::Typed(bytes)) if bytes.contains(&terminal::ESCAPE) => return Ok(0),
                Some(Input::Typed(bytes)) => {
                    self.machine.send(&bytes)?;
                    continue;
                }
                Some(Input::TypedEnd) => {
                    typed_end = true;
                    deadline = deadline.or(Some(Instant::now() + self.options.command_time()));
                    continue;
                }
                None => continue,
            };
            let panicked = self.remember(&bytes);
            for piece in self.scanner.feed(&bytes) {
                match piece {
                    Piece::Output(text) if begun => {
                        output.write_all(&text).context("write the guest's output")?;
                    }
                    Piece::Output(_) => {}
                    Piece::Mark { sequence, .. } if sequence == begin => begun = true,
                    Piece::Mark { sequence, status } if sequence == end => {
                        output.flush().context("write the guest's output")?;
                        return u8::try_from(status).with_context(|| format!("exit status {status} of the guest"));
                    }
                    Piece::Mark { .. } => {}
                }
            }
            output.flush().context("write the guest's output")?;
            if let Some(message) = panicked {
                self.drain(Duration::from_secs(2));
                return Err(self.boot_failed(Failure::Panic(message)));
            }
        }
    }

    /// Runs a short line of our own: status and output.
    fn ask(&mut self, command: &str) -> Result<(i32, String)> {
        match self.exchange(command, SHORT)? {
            Some(answer) => Ok(answer),
            None => Err(self.with_console(format!("the guest did not answer within {} s: {command}", SHORT.as_secs()))),
        }
    }

    /// Runs a line; none if its mark did not come in time.
    fn exchange(&mut self, command: &str, within: Duration) -> Result<Option<(i32, String)>> {
        let sequence = self.next_sequence();
        let line = format!("{command};echo @@{}:{sequence}:$?@@", self.nonce);
        self.type_line(&line)?;
        let deadline = Instant::now() + within;
        let mut text = Vec::new();
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(None);
            }
            match self.machine.next(wait) {
                Some(Input::Serial(bytes)) => {
                    if let Some(message) = self.remember(&bytes) {
                        return Err(self.boot_failed(Failure::Panic(message)));
                    }
                    for piece in self.scanner.feed(&bytes) {
                        match piece {
                            Piece::Output(more) => text.extend(more),
                            Piece::Mark { sequence: found, status } if found == sequence => {
                                return Ok(Some((status, String::from_utf8_lossy(&text).into_owned())));
                            }
                            // what came before belongs to an earlier line
                            Piece::Mark { .. } => text.clear(),
                        }
                    }
                }
                Some(Input::Ended) => return Err(self.ended_early("answered")),
                Some(Input::Typed(_) | Input::TypedEnd) | None => {}
            }
        }
    }

    fn type_line(&mut self, line: &str) -> Result<()> {
        if line.len() > LONGEST_LINE {
            bail!("a line of {} bytes is too long for the guest's terminal: {line}", line.len());
        }
        self.machine.send(line.as_bytes())?;
        self.machine.send(b"\n")
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    /// Keeps the last lines for error messages; returns the message of a panic.
    fn remember(&mut self, bytes: &[u8]) -> Option<String> {
        let mut panicked = None;
        for line in self.lines.feed(bytes) {
            if self.options.verbose {
                eprintln!("| {line}");
            }
            panicked = panicked.or(self.panic.line(&line));
            if self.console.len() == SHOWN_LINES {
                self.console.pop_front();
            }
            self.console.push_back(line);
        }
        panicked
    }

    /// Reads on for a moment, so that a panic's own words are among the last lines.
    fn drain(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        while let Some(Input::Serial(bytes)) = self.machine.next(deadline.saturating_duration_since(Instant::now())) {
            self.remember(&bytes);
        }
    }

    fn boot_failed(&mut self, failure: Failure) -> anyhow::Error {
        if matches!(failure, Failure::Panic(_)) {
            self.drain(Duration::from_secs(1));
        }
        self.with_console(failure.to_string())
    }

    fn ended_early(&mut self, before: &str) -> anyhow::Error {
        // qemu's own words come by another pipe
        self.machine.wait(Duration::from_secs(1));
        let complaints = self.machine.complaints();
        if self.accelerator == Accelerator::Kvm && complaints.to_lowercase().contains("kvm") {
            return Silent(complaints).into();
        }
        let mut message = format!("the machine ended before it {before}");
        if !complaints.is_empty() {
            message = format!("{message}; {}: {complaints}", self.options.qemu);
        }
        self.with_console(message)
    }

    fn with_console(&self, message: String) -> anyhow::Error {
        let mut text = message;
        let lines = self.console.iter().map(String::as_str).chain(std::iter::once(self.lines.tail()));
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() && !self.options.verbose {
            text.push_str("\nThe last lines of its console:");
            for line in lines {
                text.push_str("\n  | ");
                text.push_str(line);
            }
        }
        anyhow::anyhow!(text)
    }
}

/// Whether our terminal goes to the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forward {
    Nothing,
    Terminal,
}

/// KiB available, from `df -k`: the word before the percentage.
fn available(df: &str) -> Option<u64> {
    let words: Vec<&str> = df.split_whitespace().collect();
    let percentage =
        words.iter().rposition(|word| word.len() > 1 && word.ends_with('%') && word.as_bytes()[0].is_ascii_digit())?;
    words.get(percentage.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::available;

    #[test]
    fn free_space_of_both_systems() {
        let freebsd = "Filesystem 1024-blocks   Used   Avail Capacity  Mounted on\n/dev/ufs/x    5035740 900000 3733000    19%    /\n";
        assert_eq!(available(freebsd), Some(3_733_000));
        let busybox =
            "Filesystem           1K-blocks      Used Available Use% Mounted on\ntmpfs   1000 0 1000   0% /mnt\n";
        assert_eq!(available(busybox), Some(1000));
        assert_eq!(available("df: .: can't find mount point\n"), None);
    }
}
