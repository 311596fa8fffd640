//! What runj costs, as ratios measured in one run on one machine: `bench [ROUNDS [CONTAINERS [GROUP...]]]`, as root.
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

/// What can be measured alone.
const GROUPS: [&str; 7] = ["runs", "lives", "verbs", "counts", "shims", "scale", "storm"];

fn main() -> anyhow::Result<()> {
    let usage = || format!("bench [ROUNDS [CONTAINERS [GROUP...]]], groups: {}", GROUPS.join(", "));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, unset: usize| args.get(at).map_or(Ok(unset), |text| text.parse()).with_context(usage);
    let (rounds, containers) = (number(0, 40)?, number(1, 1000)?);
    ensure!(rounds >= 3, "ROUNDS must be at least 3");
    let groups: Vec<&str> = args.iter().skip(2).map(String::as_str).collect();
    ensure!(groups.iter().all(|group| GROUPS.contains(group)), usage());
    measure::become_reaper()?;
    measure::own_mounts()?;
    let directory = tempfile::tempdir()?;
    let place = Place::new(directory.path())?;
    let mut table = Table::new(rounds);
    for group in GROUPS.into_iter().filter(|group| groups.is_empty() || groups.contains(group)) {
        match group {
            "runs" => rows::runs(&place, &mut table)?,
            "lives" => rows::lives(&place, &mut table)?,
            "verbs" => rows::verbs(&place, &mut table)?,
            "counts" => rows::counts(&place, &mut table)?,
            "shims" => shims::shims(&place, &mut table)?,
            "scale" => rows::scale(&place, &mut table, containers)?,
            _ => rows::storm(&place, &mut table, containers)?,
        }
    }
    println!("{}", table.json());
    Ok(())
}
