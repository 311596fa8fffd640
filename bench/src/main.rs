//! What runj costs, as ratios measured in one run on one machine: `bench [ROUNDS]`, as root.
//!
//! Each row interleaves two commands, A B A B …, and prints the median of the ratios of the pairs with their spread,
//! so that a comparison holds when the machine's speed drifts. No time is asserted anywhere.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

mod measure;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use measure::{Sample, median, run};
use serde_json::{Value, json};

/// Where everything is.
struct Bench {
    runj: PathBuf,
    state: PathBuf,
    bundle: PathBuf,
    rounds: usize,
    rows: Vec<Value>,
}

fn main() -> anyhow::Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(40), |text| text.parse()).context("ROUNDS is not a number")?;
    ensure!(rounds >= 3, "ROUNDS must be at least 3");
    let runj = std::env::var_os("RUNJ_BIN").map_or_else(beside, |path| Ok(path.into()))?;
    let directory = tempfile::tempdir()?;
    let bundle = directory.path().join("bundle");
    let mut bench = Bench { runj, state: directory.path().join("state"), bundle, rounds, rows: Vec::new() };
    bench.prepare()?;
    bench.whole_run()?;
    bench.verbs()?;
    println!("{}", serde_json::to_string(&json!({ "rounds": rounds, "rows": bench.rows }))?);
    Ok(())
}

/// The runj that was built with this program.
fn beside() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("runj");
    ensure!(path.exists(), "{}: not built; or name another one in RUNJ_BIN", path.display());
    Ok(path)
}

impl Bench {
    fn prepare(&self) -> anyhow::Result<()> {
        let made = self.command(&["demo", "bundle"]).arg(&self.bundle).args(["/bin/true"]).output()?;
        ensure!(made.status.success(), "demo bundle: {}", String::from_utf8_lossy(&made.stderr));
        println!(
            "{} of {} pairs a row; median ratio of wall time (least, greatest), ratio of processor time; KiB: resident peak",
            self.runj.display(),
            self.rounds
        );
        Ok(())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.runj);
        command.arg("--root").arg(&self.state).args(args);
        command
    }

    /// A bundle's program with nothing mounted, since the other side mounts nothing either.
    fn bare(&self, program: &[&str]) -> anyhow::Result<()> {
        let path = self.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        config["mounts"] = json!([]);
        config["process"]["args"] = json!(program);
        Ok(std::fs::write(path, config.to_string())?)
    }

    fn bundle(&self) -> &str {
        self.bundle.to_str().unwrap_or_default()
    }

    /// `run` of a static program that does nothing, against the cheapest way to the same without a runtime.
    fn whole_run(&mut self) -> anyhow::Result<()> {
        self.bare(&["/bin/true"])?;
        let root = self.bundle.join("root");
        let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), 0);
        for round in 0..=self.rounds {
            let a = run(self.command(&["run", "-b", self.bundle(), "r"]))?;
            let b = run(floor(&root))?;
            if round > 0 {
                peak = peak.max(a.peak);
                ours.push(a);
                theirs.push(b);
            }
        }
        self.report("run true", floor_name(), &ours, &theirs, peak);
        Ok(())
    }

    /// Each verb, against a program that is started and ends.
    fn verbs(&mut self) -> anyhow::Result<()> {
        self.bare(&["/bin/sleep", "1000"])?;
        let names = ["create", "start", "state", "exec", "list", "kill", "delete"];
        let mut ours: Vec<Vec<Sample>> = names.iter().map(|_| Vec::new()).collect();
        let mut theirs = ours.clone();
        let root = self.bundle.join("root");
        for round in 0..=self.rounds {
            for (index, name) in names.iter().enumerate() {
                let args: &[&str] = match *name {
                    "create" => &["create", "-b", self.bundle(), "v"],
                    "exec" => &["exec", "v", "/bin/true"],
                    "list" => &["list"],
                    "kill" => &["kill", "v", "KILL"],
                    "delete" => {
                        self.await_stopped()?;
                        &["delete", "v"]
                    }
                    verb => &[verb, "v"],
                };
                let a = run(self.command(args)).with_context(|| (*name).to_owned())?;
                let b = run(Command::new(root.join("bin/true")))?;
                if round > 0 {
                    ours[index].push(a);
                    theirs[index].push(b);
                }
            }
        }
        for (index, name) in names.iter().enumerate() {
            let peak = ours[index].iter().map(|sample| sample.peak).max().unwrap_or(0);
            self.report(name, "a program that ends at once", &ours[index].clone(), &theirs[index].clone(), peak);
        }
        Ok(())
    }

    fn await_stopped(&self) -> anyhow::Result<()> {
        for _ in 0..1000 {
            let state: Value = serde_json::from_slice(&self.command(&["state", "v"]).output()?.stdout)?;
            if state["status"] == "stopped" {
                return Ok(());
            }
        }
        anyhow::bail!("the container does not stop")
    }

    fn report(&mut self, name: &str, against: &str, ours: &[Sample], theirs: &[Sample], peak: i64) {
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a.seconds / b.seconds).collect();
        let ratio = median(&mut ratios);
        let (least, greatest) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
        let processor = |samples: &[Sample]| samples.iter().map(|sample| sample.processor).sum::<f64>();
        let processor = processor(ours) / processor(theirs);
        println!(
            "{name:<10} {ratio:6.2} ({least:.2}, {greatest:.2}), processor {processor:.2} × {against}; {peak} KiB"
        );
        self.rows.push(json!({
            "name": name, "against": against, "ratio": ratio, "least": least, "greatest": greatest,
            "processorRatio": processor, "peakKiB": peak
        }));
    }
}

/// What costs least and does the same: namespaces, a root, the program.
#[cfg(target_os = "linux")]
fn floor(root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg("-pfmui").arg("chroot").arg(root).arg("/bin/true");
    command
}

#[cfg(target_os = "linux")]
fn floor_name() -> &'static str {
    "unshare -pfmui chroot ROOT /bin/true"
}

/// What costs least and does the same: a jail that goes with its program.
#[cfg(not(target_os = "linux"))]
fn floor(root: &Path) -> Command {
    let mut command = Command::new("jail");
    command.arg("-c").arg(format!("path={}", root.display())).arg("command=/bin/true");
    command
}

#[cfg(not(target_os = "linux"))]
fn floor_name() -> &'static str {
    "jail -c path=ROOT command=/bin/true"
}
