//! From power-on to a shell: what a guest prints on its serial line, and what to type. Pure: bytes in, steps out.
//!
//! Prompts end no line, so they are looked for when the line has been quiet for a moment, not as they arrive.

use super::scan::{Lines, strip_escapes};

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// type this
    Send(String),
    /// a shell answers
    Shell,
    /// there will be no shell
    Failed(Failure),
}

/// Why a guest gives no shell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the guest's kernel panicked: {0}")]
    Panic(String),
    #[error("root's password is not empty: the guest refused the login")]
    LoginRefused,
    #[error("the guest found no root file system (it asks for one: mountroot>)")]
    NoRoot,
    #[error("the guest's boot loader could not start a kernel")]
    NoKernel,
}

/// How often a login is tried: the first can meet a prompt that kernel messages have broken.
const LOGINS: u32 = 3;

/// The state of getting to a shell.
pub struct Boot {
    lines: Lines,
    panic: PanicWatch,
    probe: String,
    answer: String,
    logins: u32,
    loader_settings: Vec<String>,
    in_loader: bool,
    done: bool,
}

impl Boot {
    /// `nonce` makes the answer of the shell unmistakable; `loader_settings` are typed at the FreeBSD loader's prompt.
    pub fn new(nonce: &str, loader_settings: &[String]) -> Self {
        let (first, second) = nonce.split_at(nonce.len() / 2);
        Self {
            lines: Lines::default(),
            panic: PanicWatch::default(),
            // The quotes vanish in any shell, and keep the echo of what we type from looking like its answer.
            probe: format!("echo @@{first}''{second}@@\n"),
            answer: format!("@@{nonce}@@"),
            logins: 0,
            loader_settings: loader_settings.to_vec(),
            in_loader: false,
            done: false,
        }
    }

    /// Takes what the guest printed.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        for line in self.lines.feed(bytes) {
            if let Some(message) = self.panic.line(&line) {
                steps.push(Step::Failed(Failure::Panic(message)));
            } else if line.contains(&self.answer) {
                if !self.done {
                    steps.push(Step::Shell);
                }
                self.done = true;
            } else if line.contains("Login incorrect") && self.logins >= LOGINS {
                steps.push(Step::Failed(Failure::LoginRefused));
            } else if line.contains("can't load 'kernel'") {
                steps.push(Step::Failed(Failure::NoKernel));
            }
        }
        if !self.loader_settings.is_empty() && !self.in_loader && is_loader_countdown(self.lines.tail()) {
            // Any key but Enter stops the countdown; in the menu, Escape leads to the prompt.
            self.in_loader = true;
            steps.push(Step::Send("\u{1b}".to_owned()));
        }
        steps
    }

    /// Looks at the unfinished line, once nothing has come for a moment.
    pub fn quiet(&mut self) -> Vec<Step> {
        if self.done {
            return Vec::new();
        }
        let tail = strip_escapes(self.lines.tail());
        let tail = tail.trim_end();
        let step = if tail.ends_with("mountroot>") {
            Step::Failed(Failure::NoRoot)
        } else if tail.ends_with("db>") {
            Step::Failed(Failure::Panic(self.panic.message()))
        } else if tail.ends_with("login:") {
            self.logins += 1;
            if self.logins > LOGINS { Step::Failed(Failure::LoginRefused) } else { Step::Send("root\n".to_owned()) }
        } else if tail.ends_with("assword:") || (tail.contains("Enter full pathname of shell") && tail.ends_with(':')) {
            // the empty password; /bin/sh in single-user mode
            Step::Send("\n".to_owned())
        } else if tail == "OK" {
            self.loader_prompt()
        } else if is_shell_prompt(tail) {
            Step::Send(self.probe.clone())
        } else {
            return Vec::new();
        };
        // An answer to this prompt, not to a repetition of it.
        self.lines.forget_tail();
        vec![step]
    }

    /// What to type when nothing has come for so long that the prompt may have been overwritten.
    pub fn nudge(&self) -> String {
        "\n".to_owned()
    }

    fn loader_prompt(&mut self) -> Step {
        self.in_loader = true;
        if self.loader_settings.is_empty() {
            return Step::Send("boot\n".to_owned());
        }
        Step::Send(format!("set {}\n", self.loader_settings.remove(0)))
    }
}

fn is_loader_countdown(tail: &str) -> bool {
    tail.contains("Autoboot in") || tail.contains("Hit [Enter] to boot immediately")
}

fn is_shell_prompt(tail: &str) -> bool {
    // A kernel message may end like this too: then the probe is typed into the void, which does no harm.
    tail.len() <= 120 && tail.ends_with(['#', '$', '%'])
}

/// Tells the panic of a kernel from a program that prints the word: FreeBSD's is followed by its processor or the
/// debugger's first words, Linux says whose it is.
#[derive(Default)]
pub struct PanicWatch {
    candidate: Option<(String, u32)>,
}

/// Within how many lines a FreeBSD panic is confirmed.
const CONFIRMED_WITHIN: u32 = 12;

impl PanicWatch {
    /// Takes a line; returns the kernel's message when it is clear that the kernel panicked.
    pub fn line(&mut self, line: &str) -> Option<String> {
        if let Some((_, message)) = line.split_once("Kernel panic - not syncing: ") {
            return Some(message.trim().to_owned());
        }
        if let Some(message) = line.trim_start().strip_prefix("panic: ") {
            self.candidate = Some((message.trim().to_owned(), 0));
            return None;
        }
        let (message, lines) = self.candidate.as_mut()?;
        *lines += 1;
        let confirmed = ["cpuid = ", "KDB: ", "Uptime: ", "Dumping "].iter().any(|word| line.starts_with(word));
        if confirmed {
            return Some(message.clone());
        }
        if *lines > CONFIRMED_WITHIN {
            self.candidate = None;
        }
        None
    }

    /// The last message that looked like one.
    pub fn message(&self) -> String {
        self.candidate.as_ref().map_or_else(|| "in the debugger".to_owned(), |(message, _)| message.clone())
    }
}
