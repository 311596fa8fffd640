//! `events`.

use std::time::Duration;

use clap::Args;

use super::print;
use crate::id::ContainerId;
use crate::runtime::Runtime;
use crate::runtime::events::{Event, EventKind, follow, kills, once};
use crate::sys::Kernel;

#[derive(Debug, Args)]
pub struct Events {
    /// Show figures once
    #[arg(long)]
    stats: bool,
    /// Show once how many processes the kernel killed because memory was short, also of a container that has stopped;
    /// null where it does not tell (FreeBSD)
    #[arg(long, conflicts_with = "stats")]
    oom: bool,
    /// How often figures are shown, as 500ms, 5s or 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    interval: Duration,
    /// The container's id
    id: ContainerId,
}

impl Events {
    pub fn call(&self, runtime: &Runtime<'_, impl Kernel>) -> anyhow::Result<()> {
        let show = |kind: EventKind| print(&(serde_json::to_string(&Event { id: &self.id, kind })? + "\n"));
        if self.oom {
            let kills = kills(runtime, &self.id)?;
            return print(&(serde_json::json!({ "id": self.id, "oomKills": kills }).to_string() + "\n"));
        }
        if self.stats {
            return show(once(runtime, &self.id)?);
        }
        follow(runtime, &self.id, self.interval, show)
    }
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() { Err("must be greater than zero".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("500ms", Some(500))]
    #[case("5s", Some(5000))]
    #[case("1m30s", Some(90_000))]
    #[case("0s", None)]
    #[case("5", None)]
    #[case("-1s", None)]
    fn intervals(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(interval(text).ok(), millis.map(Duration::from_millis));
    }
}
