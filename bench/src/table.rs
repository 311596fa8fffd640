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
        let processor = processor(&pairs.ours) / processor(&pairs.theirs);
        let peak = pairs.ours.iter().map(|sample| sample.peak).max().unwrap_or(0);
        println!("{name:<28} {ratio:6.2} ({low:.2} to {high:.2}), processor {processor:5.2}, × {against}; {peak} KiB");
        self.rows.push(json!({
            "name": name, "against": against, "ratio": ratio, "low": low, "high": high,
            "processorRatio": processor, "peakKiB": peak
        }));
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
