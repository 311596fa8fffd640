//! The QEMU process and its serial line. Knows QEMU's command line, and nothing of what the guest says.

use super::options::{Accelerator, Options};
use super::payload::Payload;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What comes from outside.
#[derive(Debug)]
pub enum Input {
    /// the guest printed this
    Serial(Vec<u8>),
    /// the machine has ended
    Ended,
    /// someone typed this on our terminal
    Typed(Vec<u8>),
    /// our terminal has ended
    TypedEnd,
}

/// A running QEMU; killed when dropped.
pub struct Machine {
    child: Child,
    serial: ChildStdin,
    inputs: Receiver<Input>,
    sender: Sender<Input>,
    complaints: Arc<Mutex<String>>,
}

impl Machine {
    /// Starts QEMU with the image, and the payload as its second disk.
    pub fn start(options: &Options, payload: &Payload, accelerator: Accelerator) -> Result<Self> {
        let words = command_line(options, payload.file(), accelerator)?;
        let mut child = Command::new(&options.qemu)
            .args(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => anyhow::anyhow!(
                    "no qemu: {} is not in PATH; get it with: apt-get install qemu-system-x86, or: pkg install \
                     qemu-nox11",
                    options.qemu
                ),
                _ => anyhow::Error::new(error).context(format!("run {}", options.qemu)),
            })?;
        let serial = child.stdin.take().context("the machine's serial line")?;
        let mut output = child.stdout.take().context("the machine's serial line")?;
        let mut errors = child.stderr.take().context("qemu's error output")?;

        let (sender, inputs) = mpsc::channel();
        let serial_sender = sender.clone();
        thread::spawn(move || {
            pump(&mut output, &serial_sender, Input::Serial);
            // nobody is left to tell, if this fails
            let _ = serial_sender.send(Input::Ended);
        });
        let complaints = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&complaints);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, serial, inputs, sender, complaints })
    }

    /// The next thing that happens, or none within that time.
    pub fn next(&self, within: Duration) -> Option<Input> {
        match self.inputs.recv_timeout(within) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Input::Ended),
        }
    }

    /// Types into the serial line. A machine that has ended takes nothing; its end is an input of its own.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.serial.write_all(bytes).and_then(|()| self.serial.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.context("write to the machine's serial line"),
        }
    }

    /// Lets what is typed on our terminal arrive as input too.
    pub fn listen_to_terminal(&self) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            pump(&mut io::stdin().lock(), &sender, Input::Typed);
            // nobody is left to tell, if this fails
            let _ = sender.send(Input::TypedEnd);
        });
    }

    /// What QEMU itself complained of.
    pub fn complaints(&self) -> String {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }

    /// Waits for the machine to end by itself; false if it did not.
    pub fn wait(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // it has ended already, or ends now; a snapshot has nothing to lose
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pump(from: &mut dyn Read, to: &Sender<Input>, input: fn(Vec<u8>) -> Input) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.send(input(buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// QEMU's command line. Nothing that the options name is written to: `-snapshot` covers every disk.
pub fn command_line(options: &Options, payload: &Path, accelerator: Accelerator) -> Result<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    add(&["-accel", &accelerator.to_string()]);
    add(&["-cpu", if accelerator == Accelerator::Kvm { "host" } else { "max" }]);
    add(&["-m", &options.memory.to_string(), "-smp", &options.cpus.to_string()]);
    add(&["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-snapshot"]);
    if let Some(image) = &options.image {
        add(&["-drive", &drive(image, image_format(image)?)]);
    }
    add(&["-drive", &drive(payload, "raw")]);
    // Without a network of their own choice, guests do not wait for an address at boot.
    if !options.qemu_arg.iter().any(|word| word.starts_with("-net") || word.starts_with("-nic")) {
        add(&["-nic", "none"]);
    }
    words.extend(options.qemu_arg.iter().cloned());
    Ok(words)
}

fn drive(file: &Path, format: &str) -> String {
    // a comma ends a value, two are one
    format!("if=virtio,format={format},file={}", file.display().to_string().replace(',', ",,"))
}

fn image_format(image: &Path) -> Result<&'static str> {
    let mut magic = Vec::new();
    File::open(image)
        .and_then(|file| file.take(6).read_to_end(&mut magic))
        .with_context(|| format!("read {}", image.display()))?;
    match magic.as_slice() {
        [b'Q', b'F', b'I', 0xfb, ..] => Ok("qcow2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => bail!("{}: the image is compressed; unpack it first", image.display()),
        _ => Ok("raw"),
    }
}
