//! What ps(1) shows of processes, from /proc.

use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};

use super::processes::stat_fields;
use super::registry::errno;
use crate::sys::process::ProcessIdentity;
use crate::sys::usage::{CpuTime, ProcessView, command_line};

/// The numbers that the fields of /proc are in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// Clock ticks of a second.
    ticks: u64,
    /// Bytes of a page.
    page: u64,
    /// How long the machine runs.
    uptime: Duration,
}

impl Units {
    fn of_this_machine() -> nix::Result<Self> {
        let text = std::fs::read_to_string("/proc/uptime").map_err(|error| errno(&error))?;
        let seconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).ok_or(Errno::EBADMSG)?;
        Ok(Self {
            ticks: ticks_per_second()?,
            page: number(SysconfVar::PAGE_SIZE)?,
            uptime: Duration::from_secs_f64(seconds),
        })
    }

    fn ticks(&self, count: u64) -> Duration {
        ticks(count, self.ticks)
    }
}

/// Clock ticks of a second (`USER_HZ`).
pub(super) fn ticks_per_second() -> nix::Result<u64> {
    number(SysconfVar::CLK_TCK)
}

/// Clock ticks as time.
pub(super) fn ticks(count: u64, per_second: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000) / per_second.max(1))
}

fn number(name: SysconfVar) -> nix::Result<u64> {
    sysconf(name)?.and_then(|value| u64::try_from(value).ok()).ok_or(Errno::EINVAL)
}

/// The views of these processes, without those that ended meanwhile.
pub fn views(processes: &[ProcessIdentity]) -> nix::Result<Vec<ProcessView>> {
    let units = Units::of_this_machine()?;
    let mut list = Vec::with_capacity(processes.len());
    for identity in processes {
        let read = |name: &str| std::fs::read(format!("/proc/{}/{name}", identity.pid));
        let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else { continue };
        let words = read("cmdline").unwrap_or_default();
        let view = parse(*identity, &stat, &status, &words, units).ok_or(Errno::EBADMSG)?;
        let files = std::fs::read_dir(format!("/proc/{}/fd", identity.pid)).ok().map(|entries| entries.count() as u64);
        list.push(ProcessView { open_files: files, ..view });
    }
    Ok(list)
}

/// Reads proc_pid_stat(5), proc_pid_status(5) and proc_pid_cmdline(5).
fn parse(identity: ProcessIdentity, stat: &[u8], status: &[u8], words: &[u8], units: Units) -> Option<ProcessView> {
    let open = stat.iter().position(|&byte| byte == b'(')? + 1;
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let name = String::from_utf8_lossy(stat.get(open..close)?);
    let fields: Vec<&str> = stat_fields(stat)?.collect();
    // The first of them is the third of the manual.
    let field = |number: usize| fields.get(number - 3).copied();
    let time = |number: usize| field(number)?.parse().ok().map(|count| units.ticks(count));
    let cpu = |user: usize, system: usize| Some(CpuTime::of(time(user)?, time(system)?));
    let uid = std::str::from_utf8(status).ok()?.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    Some(ProcessView {
        identity,
        parent: field(4)?.parse().ok()?,
        uid: uid.split_whitespace().nth(1)?.parse().ok()?,
        terminal: terminal(field(7)?.parse().ok()?),
        age: units.uptime.saturating_sub(units.ticks(field(22)?.parse().ok()?)),
        cpu: cpu(14, 15)?,
        children: cpu(16, 17)?,
        resident: field(24)?.parse::<u64>().ok()?.saturating_mul(units.page),
        open_files: None,
        command: command_line(words, &name),
    })
}

/// The name of a terminal's device number: the minor's low byte, the major in the next 12 bits, the minor's rest
/// (proc_pid_stat(5), `tty_nr`; majors as in devices.txt).
fn terminal(device: u32) -> Option<String> {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        0 => None,
        4 if minor < 64 => Some(format!("tty{minor}")),
        4 => Some(format!("ttyS{}", minor - 64)),
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        _ => Some(format!("{major}:{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_process_is_read() {
        let stat = b"7 (a (b) c) S 3 7 7 34818 -1 4194560 1 0 0 0 150 50 20 10 20 0 1 0 1000 4096 2 0 0";
        let units = Units { ticks: 100, page: 4096, uptime: Duration::from_secs(70) };
        let identity = ProcessIdentity { pid: 7, start: 1000 };
        let view = parse(identity, stat, b"Name:\tx\nUid:\t0\t1000\t0\t0\n", b"", units).unwrap();
        assert_eq!((view.parent, view.uid, view.resident), (3, 1000, 8192));
        assert_eq!(view.terminal.as_deref(), Some("pts/2"));
        assert_eq!((view.age, view.cpu.total, view.cpu.user), (secs(60), secs(2), Duration::from_millis(1500)));
        assert_eq!(view.children.total, Duration::from_millis(300));
        assert_eq!(view.command, "[a (b) c]");
    }

    fn secs(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[rstest]
    #[case(0, None)]
    #[case(0x8800, Some("pts/0"))]
    #[case(0x8900, Some("pts/256"))]
    #[case(0x0401, Some("tty1"))]
    #[case(0x0440, Some("ttyS0"))]
    #[case(0x0501, Some("5:1"))]
    fn terminals_have_names(#[case] device: u32, #[case] name: Option<&str>) {
        assert_eq!(terminal(device).as_deref(), name);
    }

    #[test]
    fn this_process_is_seen() {
        let this = super::super::processes::own_identity().unwrap();
        let views = views(&[this]).unwrap();
        assert_eq!(views[0].identity, this);
        assert!(views[0].open_files.unwrap() > 2);
        assert!(views[0].resident > 0 && views[0].command.contains("runj"), "{views:?}");
    }
}
