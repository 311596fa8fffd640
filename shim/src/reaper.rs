//! The ends of all children: of the programs that the shim starts, of the container's processes that fall to it, and of
//! orphans, which nobody asks for.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nix::errno::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::sys::ffi;

/// How and when a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status; 128 and the signal's number where a signal ended it.
    pub status: u32,
    /// When it was reaped.
    pub at: SystemTime,
}

/// Reaps every child, once.
#[derive(Debug, Default)]
pub struct Reaper(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Who waits for whom.
    waiting: HashMap<i32, oneshot::Sender<Exit>>,
    /// Ends of processes that nobody asked for yet; kept while somebody is about to learn a pid.
    early: HashMap<i32, Exit>,
    expecting: usize,
}

/// As long as it lives, the end of a process whose pid is not known yet is remembered.
#[derive(Debug)]
pub struct Expectation(Arc<Reaper>);

impl Drop for Expectation {
    fn drop(&mut self) {
        let mut known = self.0.known();
        known.expecting -= 1;
        if known.expecting == 0 {
            known.early = HashMap::new();
        }
    }
}

impl Reaper {
    /// Starts to reap, in the runtime that this is called in.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let children = signal(SignalKind::child())?;
        let reaper = Arc::new(Self::default());
        tokio::spawn(Arc::clone(&reaper).run(children));
        Ok(reaper)
    }

    /// To be called before a program is started that leaves a child to the shim, such as `runj create`.
    pub fn expect(self: &Arc<Self>) -> Expectation {
        self.known().expecting += 1;
        Expectation(Arc::clone(self))
    }

    /// The end of a child, now or later. Of a child that was just started, or one that was expected.
    pub fn exit_of(&self, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let mut known = self.known();
        match known.early.remove(&pid) {
            // The receiver is at hand, so it cannot be refused.
            Some(exit) => drop(sender.send(exit)),
            None => drop(known.waiting.insert(pid, sender)),
        }
        receiver
    }

    async fn run(self: Arc<Self>, mut children: Signal) {
        loop {
            self.reap();
            if children.recv().await.is_none() {
                return;
            }
        }
    }

    /// Several ends may come as one signal.
    fn reap(&self) {
        loop {
            match ffi::reap() {
                Ok(Some((pid, status))) => self.ended(pid, code(status)),
                Ok(None) | Err(Errno::ECHILD) => return,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    log::error!("wait for children: {}", errno.desc());
                    return;
                }
            }
        }
    }

    fn ended(&self, pid: i32, status: u32) {
        let exit = Exit { status, at: SystemTime::now() };
        let mut known = self.known();
        match known.waiting.remove(&pid) {
            // Whoever asked may have gone since.
            Some(sender) => drop(sender.send(exit)),
            None if known.expecting > 0 => drop(known.early.insert(pid, exit)),
            None => {}
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As shells count.
fn code(status: ExitStatus) -> u32 {
    let signal = || 128 + status.signal().unwrap_or_default();
    status.code().unwrap_or_else(signal).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_a_signal() {
        assert_eq!(code(ExitStatus::from_raw(42 << 8)), 42);
        assert_eq!(code(ExitStatus::from_raw(libc::SIGKILL)), 137);
        // A real-time signal, which has no name.
        assert_eq!(code(ExitStatus::from_raw(40)), 168);
    }

    #[test]
    fn an_end_is_kept_only_while_it_is_expected() {
        let reaper = Arc::new(Reaper::default());
        reaper.ended(7, 1);
        assert!(reaper.exit_of(7).try_recv().is_err());
        let expected = reaper.expect();
        reaper.ended(8, 2);
        reaper.ended(9, 3);
        assert_eq!(reaper.exit_of(8).try_recv().unwrap().status, 2);
        drop(expected);
        assert!(reaper.exit_of(9).try_recv().is_err());
        reaper.ended(9, 4);
    }
}
