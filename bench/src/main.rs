//! What runj costs, as ratios measured in one run on one machine: `bench [ROUNDS [CONTAINERS]]`, as root.
//!
//! Each row interleaves two commands, A B A B …, and prints the median of the ratios of the pairs, so that a comparison
//! holds when the machine's speed drifts. No time is asserted anywhere.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

mod measure;
mod place;
mod rows;
mod shims;
mod table;

use anyhow::{Context, ensure};

use place::Place;
use table::Table;

fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().context("bench [ROUNDS [CONTAINERS]]"));
    let rounds = numbers.next().unwrap_or(Ok(40))?;
    let containers = numbers.next().unwrap_or(Ok(1000))?;
    ensure!(rounds >= 3, "ROUNDS must be at least 3");
    measure::become_reaper()?;
    measure::own_mounts()?;
    let directory = tempfile::tempdir()?;
    let place = Place::new(directory.path())?;
    let mut table = Table::new(rounds);
    rows::runs(&place, &mut table)?;
    rows::lives(&place, &mut table)?;
    rows::verbs(&place, &mut table)?;
    rows::counts(&place, &mut table)?;
    shims::shims(&place, &mut table)?;
    rows::scale(&place, &mut table, containers)?;
    rows::storm(&place, &mut table, containers)?;
    println!("{}", table.json());
    Ok(())
}
