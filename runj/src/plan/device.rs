//! Which device nodes a container sees: rules of devfs(8). Pure.

use std::path::Component;

use crate::config::{Config, Problem};
use crate::sys::mount::DeviceRule;

/// What a container may always see: the sets `devfsrules_unhide_basic` and `devfsrules_unhide_login` of
/// devfs.rules(5) without the disks and terminals of the host.
const BASIC: &[&str] =
    &["null", "zero", "full", "random", "urandom", "stdin", "stdout", "stderr", "fd", "fd/*", "pts", "pts/*", "ptmx"];

/// The rules of a private ruleset: everything hidden, then the basic nodes.
pub fn basic_rules() -> Vec<DeviceRule> {
    let hide = DeviceRule { visible: Some(false), ..DeviceRule::default() };
    let unhide =
        |&path: &&str| DeviceRule { path: Some(path.to_owned()), visible: Some(true), ..DeviceRule::default() };
    std::iter::once(hide).chain(BASIC.iter().map(unhide)).collect()
}

/// The rules for `freebsd.devices`; a node in a directory needs its directory too.
pub fn device_rules(config: &Config, problems: &mut Vec<Problem>) -> Vec<DeviceRule> {
    let mut rules = Vec::new();
    for (index, device) in config.devices.iter().enumerate() {
        let property = format!("freebsd.devices[{index}]");
        let path = device.path.strip_prefix("/dev").unwrap_or(&device.path);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let text = path.to_str().unwrap_or_default();
        if !plain || text.is_empty() || text.len() >= 200 || text.contains(['*', '?', '[', '\0']) {
            let message = format!("{} is not the path of a node below /dev", device.path.display());
            problems.push(Problem::new(format!("{property}.path"), message));
            continue;
        }
        let mode = device.mode.map(|mode| u16::try_from(mode).ok().filter(|mode| *mode <= 0o777));
        if mode == Some(None) {
            problems.push(Problem::new(format!("{property}.mode"), "more than permission bits (0777)"));
        }
        for (position, _) in text.match_indices('/') {
            rules.push(DeviceRule {
                path: Some(text[..position].to_owned()),
                visible: Some(true),
                ..DeviceRule::default()
            });
        }
        rules.push(DeviceRule {
            path: Some(text.to_owned()),
            visible: Some(true),
            mode: mode.flatten(),
            ..DeviceRule::default()
        });
    }
    rules
}

/// Reads the `rule=` option of a devfs mount: `path PATTERN [hide|unhide] [mode M] [user U] [group G]`, as podman
/// writes it.
pub fn parse_rule(text: &str) -> Result<DeviceRule, String> {
    let mut rule = DeviceRule::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut argument = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word {
            "path" => {
                let path = argument()?;
                if path.len() >= 200 {
                    return Err("the path pattern is longer than 199 bytes".to_owned());
                }
                rule.path = Some(path.to_owned());
            }
            "hide" => rule.visible = Some(false),
            "unhide" => rule.visible = Some(true),
            "mode" => {
                let mode = argument()?;
                let bits = u16::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o7777);
                rule.mode = Some(bits.ok_or_else(|| format!("{mode:?} is not an octal mode"))?);
            }
            "user" | "group" => {
                let number = argument()?;
                let id = number.parse().map_err(|_| format!("{word} takes a number, not {number:?}"))?;
                if word == "user" { rule.uid = Some(id) } else { rule.gid = Some(id) }
            }
            _ => return Err(format!("unknown word {word:?}")),
        }
    }
    if rule == DeviceRule::default() || rule.path.is_some() && rule.visible.is_none() && rule.mode.is_none() {
        return Err("does nothing".to_owned());
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::tests::problems;
    use super::*;

    #[test]
    fn podmans_rule() {
        let rule = parse_rule("path null unhide mode 0666").unwrap();
        let expected =
            DeviceRule { path: Some("null".into()), visible: Some(true), mode: Some(0o666), ..DeviceRule::default() };
        assert_eq!(rule, expected);
    }

    #[rstest]
    #[case("")]
    #[case("path")]
    #[case("path null")]
    #[case("path null unhide mode 9")]
    #[case("path null show")]
    fn bad_rules(#[case] text: &str) {
        assert!(parse_rule(text).is_err());
    }

    #[rstest]
    #[case(r#"{"path":"/dev/../etc/passwd"}"#, "devices[0].path")]
    #[case(r#"{"path":"/etc/passwd"}"#, "devices[0].path")]
    #[case(r#"{"path":""}"#, "devices[0].path")]
    #[case(r#"{"path":"*"}"#, "devices[0].path")]
    #[case(r#"{"path":"tun0","mode":4095}"#, "devices[0].mode")]
    fn bad_devices(#[case] device: &str, #[case] message: &str) {
        let error = problems(&format!(
            r#","mounts":[{{"destination":"/dev","type":"devfs"}}],"freebsd":{{"devices":[{device}]}}"#
        ));
        assert!(error.contains(message), "{error}");
    }
}
