//! The plan as the commands that a person would type. Pure.

use std::fmt::Write;

use super::Plan;
use super::mount::MountStep;
use crate::sys::jail::{ParamValue, flag_name};
use crate::sys::mount::DeviceRule;

/// The equivalent `devfs`, `rctl`, `mount`, `ifconfig` and `jail` commands, in order.
pub fn render(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_all(plan, &mut out);
    out
}

fn write_all(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let root = plan.root.path.display().to_string();
    let jail = plan.jail_name();
    writeln!(out, "# bundle {}", one_line(&plan.bundle.display().to_string()))?;
    for warning in &plan.warnings {
        writeln!(out, "# warning: {}", one_line(warning))?;
    }
    if plan.root.read_only {
        writeln!(out, "mount -t nullfs -o ro {} ROOT", quote(&root))?;
    }
    let shown = if plan.root.read_only { "ROOT".to_owned() } else { root };
    let limits = &plan.limits;
    let mut rules = limits.rules.clone();
    rules.extend(limits.memory.map(|bytes| format!("memoryuse:sigkill={bytes}")));
    rules.extend(limits.pids.map(|count| format!("maxproc:deny={count}")));
    rules.extend(limits.cpu.map(|(quota, period)| format!("pcpu:deny={}", percent(quota, period))));
    for rule in rules {
        writeln!(out, "rctl -a {}", quote(&format!("jail:{jail}:{rule}")))?;
    }
    for alias in &plan.network.aliases {
        writeln!(out, "ifconfig {} alias {}/{}", quote(&alias.interface), alias.address, alias.prefix)?;
    }
    write!(out, "jail -c")?;
    for (name, value) in &plan.jail.0 {
        match value {
            ParamValue::Root => write!(out, " {name}={}", quote(&shown))?,
            // Names are the kernel's own, so none has to be quoted.
            value => write!(out, " {}", value.shown(name))?,
        }
    }
    writeln!(out)?;
    for step in &plan.mounts {
        write_mount(step, &shown, out)?;
    }
    for interface in &plan.network.interfaces {
        writeln!(out, "ifconfig {} vnet {}", quote(interface), quote(jail))?;
    }
    let words: Vec<String> = plan.process.args.iter().map(|word| quote(word)).collect();
    writeln!(out, "jexec {} {}", quote(jail), words.join(" "))
}

fn write_mount(step: &MountStep, root: &str, out: &mut String) -> std::fmt::Result {
    let request = &step.request;
    for rule in &request.rules {
        writeln!(out, "devfs rule -s private add {}", rule_text(rule))?;
    }
    write!(out, "mount -t {}", quote(&request.fstype))?;
    let flags = &request.flags;
    let mut options: Vec<String> = [
        (flags.read_only, "ro"),
        (flags.no_exec, "noexec"),
        (flags.no_suid, "nosuid"),
        (flags.no_atime, "noatime"),
        (flags.no_symfollow, "nosymfollow"),
    ]
    .iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| (*name).to_owned())
    .collect();
    match (request.ruleset, request.rules.is_empty()) {
        (Some(number), _) => options.push(format!("ruleset={number}")),
        (None, false) => options.push("ruleset=private".to_owned()),
        (None, true) => {}
    }
    options.extend(request.options.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }));
    if !options.is_empty() {
        write!(out, " -o {}", quote(&options.join(",")))?;
    }
    let source = request.source.as_deref().map_or(request.fstype.clone(), |source| source.display().to_string());
    writeln!(out, " {} {}", quote(&source), quote(&format!("{root}{}", step.destination.display())))
}

fn rule_text(rule: &DeviceRule) -> String {
    let mut words = Vec::new();
    if let Some(number) = rule.include {
        words.push(format!("include {number}"));
    }
    if let Some(path) = &rule.path {
        words.push(format!("path {}", quote(path)));
    }
    match rule.visible {
        Some(true) => words.push("unhide".to_owned()),
        Some(false) => words.push("hide".to_owned()),
        None => {}
    }
    if let Some(mode) = rule.mode {
        words.push(format!("mode {mode:04o}"));
    }
    words.extend(rule.uid.map(|id| format!("user {id}")));
    words.extend(rule.gid.map(|id| format!("group {id}")));
    words.join(" ")
}

impl ParamValue {
    /// The parameter as jail(8) takes it.
    pub(super) fn shown(&self, name: &str) -> String {
        match self {
            Self::Flag(value) => flag_name(name, *value),
            Self::Int(value) => format!("{name}={value}"),
            Self::Text(value) => format!("{name}={}", quote(value)),
            Self::Sys(value) => format!("{name}={value}"),
            Self::Ip4(list) => format!("{name}={}", join(list)),
            Self::Ip6(list) => format!("{name}={}", join(list)),
            Self::Root => name.to_owned(),
        }
    }
}

fn join<T: ToString>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// `pcpu` of a quota of CPU time.
fn percent(quota: u64, period: u64) -> u128 {
    (u128::from(quota) * 100 / u128::from(period.max(1))).max(1)
}

/// A text that stays in its line.
pub(super) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A word as sh(1) takes it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts;
    use super::super::tests::plan_with;
    use super::*;

    #[test]
    fn commands() {
        let extra = r#","hostname":"web","mounts":[
            {"destination":"/dev","type":"devfs","options":["ruleset=4"]},
            {"destination":"/data dir","type":"nullfs","source":"/srv","options":["ro"]},
            {"destination":"/tmp","type":"tmpfs","options":["size=4m"]}],
            "freebsd":{"jail":{"ip4":"new","ip4Addr":["10.0.0.2"],"interface":"em0"}}"#;
        let plan = plan_with(extra, &facts::freebsd14()).unwrap();
        let expected = "\
# bundle /bundle
ifconfig em0 alias 10.0.0.2/32
jail -c name=c1 path=/bundle/root persist host=new host.hostname=web ip4=new ip4.addr=10.0.0.2 ip6=disable \
sysvmsg=new sysvsem=new sysvshm=new enforce_statfs=2
mount -t devfs -o ruleset=4 devfs /bundle/root/dev
mount -t nullfs -o ro /srv '/bundle/root/data dir'
mount -t tmpfs -o size=4m tmpfs /bundle/root/tmp
jexec c1 /bin/sh
";
        assert_eq!(render(&plan), expected);
    }
}
