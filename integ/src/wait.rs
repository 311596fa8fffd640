//! Waiting for conditions, with a deadline.

use std::time::{Duration, Instant};

/// How much longer than on a fast machine things may take (`INTEG_SLOWNESS`, default 1).
pub fn slowness() -> u32 {
    std::env::var("INTEG_SLOWNESS").ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// A number of seconds, on this machine.
pub fn seconds(number: u64) -> Duration {
    Duration::from_secs(number) * slowness()
}

/// The longest that any single step takes.
pub fn patience() -> Duration {
    seconds(20)
}

/// Asks until the answer is there; panics when the time is over.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {:?}", patience());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
