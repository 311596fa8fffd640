//! Rows of pairs: what they cost, side by side.

use std::process::Command;

use serde_json::{Value, json};

use crate::measure::{Sample, median, run};

/// The rows so far.
#[derive(Debug)]
pub struct Table {
    /// Pairs of a row.
    pub rounds: usize,
    rows: Vec<Value>,
}

/// Both sides of a row.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    ours: Vec<Sample>,
    theirs: Vec<Sample>,
}

impl Pairs {
    /// Adds a pair; the first of a row, which finds nothing in the caches, is to be left out by the caller.
    pub fn push(&mut self, ours: Sample, theirs: Sample) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }
}

#[allow(clippy::print_stdout)]
impl Table {
    /// An empty table.
    pub fn new(rounds: usize) -> Self {
        println!(
            "{rounds} pairs a row, interleaved; median ratio of wall time (quartiles), ratio of processor time; resident peak"
        );
        Self { rounds, rows: Vec::new() }
    }

    /// Measures one command against another.
    pub fn compare(
        &mut self,
        name: &str,
        against: &str,
        ours: impl Fn() -> Command,
        theirs: impl Fn() -> Command,
    ) -> anyhow::Result<()> {
        let mut pairs = Pairs::default();
        for round in 0..=self.rounds {
            let (ours, theirs) = (run(ours())?, run(theirs())?);
            if round > 0 {
                pairs.push(ours, theirs);
            }
        }
        self.add(name, against, &pairs);
        Ok(())
    }

    /// Adds a row that was measured.
    pub fn add(&mut self, name: &str, against: &str, pairs: &Pairs) {
        let mut ratios: Vec<f64> = pairs.ours.iter().zip(&pairs.theirs).map(|(a, b)| a.seconds / b.seconds).collect();
        let ratio = median(&mut ratios);
        let quartile = |quarter: usize| ratios.get(ratios.len() * quarter / 4).copied().unwrap_or(0.0);
        let (low, high) = (quartile(1), quartile(3));
        let processor = |samples: &[Sample]| samples.iter().map(|sample| sample.processor).sum::<f64>();
        let (ours, theirs) = (processor(&pairs.ours), processor(&pairs.theirs));
        let mut row = json!({ "name": name, "against": against, "ratio": ratio, "low": low, "high": high });
        if theirs > 0.0 {
            let peak = pairs.ours.iter().map(|sample| sample.peak).max().unwrap_or(0);
            let processor = ours / theirs;
            println!(
                "{name:<28} {ratio:6.2} ({low:.2} to {high:.2}), processor {processor:5.2}, × {against}; {peak} KiB"
            );
            row["processorRatio"] = json!(processor);
            row["peakKiB"] = json!(peak);
        } else {
            // Others did the work, at the client's demand.
            println!("{name:<28} {ratio:6.2} ({low:.2} to {high:.2}) × {against}");
        }
        self.rows.push(row);
    }

    /// Adds two numbers that were read, and their ratio.
    pub fn level(&mut self, name: &str, against: &str, ours: f64, theirs: f64, unit: &str) {
        let ratio = ours / theirs;
        println!("{name:<28} {ratio:6.2} × {against}; {ours:.0} {unit} against {theirs:.0}");
        self.rows.push(json!({
            "name": name, "against": against, "ratio": ratio, "ours": ours, "theirs": theirs, "unit": unit
        }));
    }

    /// Says which rows cannot be had here, and why.
    pub fn omit(&mut self, name: &str, reason: &str) {
        println!("{name:<28} left out: {reason}");
        self.rows.push(json!({ "name": name, "omitted": reason }));
    }

    /// Adds a number that is no ratio.
    pub fn note(&mut self, name: &str, value: f64, unit: &str) {
        println!("{name:<28} {value:6.0} {unit}");
        self.rows.push(json!({ "name": name, "value": value, "unit": unit }));
    }

    /// All of it, for programs.
    pub fn json(&self) -> Value {
        json!({ "rounds": self.rounds, "rows": self.rows })
    }
}
