//! Whether the devices of a bundle for Linux are those that the host has under the same names: the emulation gives nodes by
//! name, and another one must not be given in their place.

use super::{Error, Result};
use crate::config::LinuxDevice;
use crate::sys::unix::device_numbers;

/// Holds every entry of `linux.devices` against the host.
pub fn check(devices: &[LinuxDevice]) -> Result<()> {
    for (index, device) in devices.iter().enumerate() {
        let path = device.path.display();
        let refuse = |why: String| Error::argument(format!("config.json: linux.devices[{index}]"), why);
        let numbers = device_numbers(&device.path).map_err(|error| refuse(format!("{path}: {error}")))?;
        match numbers {
            None => return Err(refuse(format!("the host has no node {path}, and a node keeps its name"))),
            Some((major, minor)) if (major, minor) != (device.major, device.minor) => {
                let (wanted_major, wanted_minor) = (device.major, device.minor);
                let message =
                    format!("{path} is {major}:{minor}, not {wanted_major}:{wanted_minor}: a node keeps its name");
                return Err(refuse(message));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_the_hosts_or_refused() {
        let (major, minor) = device_numbers("/dev/null".as_ref()).unwrap().unwrap();
        let null = LinuxDevice { path: "/dev/null".into(), major, minor, ..LinuxDevice::default() };
        check(std::slice::from_ref(&null)).unwrap();
        let renamed = LinuxDevice { path: "/dev/zero".into(), ..null.clone() };
        assert!(check(&[null, renamed]).unwrap_err().to_string().contains("linux.devices[1]: /dev/zero is "));
        let missing = LinuxDevice { path: "/dev/no-such-node".into(), ..LinuxDevice::default() };
        assert!(check(&[missing]).unwrap_err().to_string().contains("the host has no node /dev/no-such-node"));
    }
}
