//! What the container's own files say of its user: `HOME` from passwd(5).
//!
//! Read inside the jail, where no path leads out, and bounded, since the image may be hostile.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::plan::process::ProcessPlan;

/// How much of passwd(5) is read, in bytes.
const MAX_PASSWD: u64 = 1 << 20;

/// The environment of the program: as configured, with a `HOME` where it lacks one.
pub fn environment(process: &ProcessPlan) -> Vec<String> {
    let mut environment = process.env.clone();
    if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
        let home = read_passwd().and_then(|text| home(&text, process.user.uid)).unwrap_or_else(|| "/".to_owned());
        environment.push(format!("HOME={home}"));
    }
    environment
}

fn read_passwd() -> Option<String> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open("/etc/passwd").ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_PASSWD).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The sixth field of the first line whose third is the uid.
fn home(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.nth(2)?.parse::<u32>().ok()? == uid;
        let home = fields.nth(2)?;
        (found && home.starts_with('/') && !home.contains('\0')).then(|| home.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_of_a_user() {
        let passwd = "root:*:0:0:Charlie &:/root:/bin/sh\nbad\nweb:*:80:80::/srv/web:/bin/sh\nrel:*:81:81::srv:\n";
        assert_eq!(home(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home(passwd, 80).as_deref(), Some("/srv/web"));
        assert_eq!(home(passwd, 81), None);
        assert_eq!(home(passwd, 99), None);
    }
}
