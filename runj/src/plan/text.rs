//! The plan as the commands that a person would type. Pure.

use std::fmt::Write;

use super::Plan;
use super::mount::MountStep;
use crate::sys::jail::{ParamValue, System, flag_name};
use crate::sys::limit::Limits;
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
    match plan.system {
        System::Freebsd => {
            for rule in plan.limits.as_rules() {
                writeln!(out, "rctl -a {}", quote(&format!("jail:{jail}:{rule}")))?;
            }
        }
        System::Linux => write_cgroup(&plan.limits, out)?,
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
    if let (System::Freebsd, Some(processors)) = (plan.system, &plan.limits.processors) {
        writeln!(out, "cpuset -l {processors} -j {}", quote(jail))?;
    }
    for step in &plan.mounts {
        write_mount(step, &shown, out)?;
    }
    for interface in &plan.network.interfaces {
        writeln!(out, "ifconfig {} vnet {}", quote(interface), quote(jail))?;
    }
    let words: Vec<String> = plan.process.args.iter().map(|word| quote(word)).collect();
    writeln!(out, "jexec {} {}", quote(jail), words.join(" "))
}

/// In the terms of version 2, whatever this machine has.
fn write_cgroup(limits: &Limits, out: &mut String) -> std::fmt::Result {
    let Some(group) = &limits.cgroup else { return Ok(()) };
    let group = quote(&format!("/sys/fs/cgroup{}", group.display()));
    writeln!(out, "mkdir -p {group}")?;
    let cpu = limits.cpu.map(|(quota, period)| format!("{quota} {period}"));
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let settings = [
        ("memory.max", number(limits.memory)),
        ("memory.swap.max", number(limits.swap_beside_memory())),
        ("pids.max", number(limits.pids)),
        ("cpu.max", cpu),
        ("cpuset.cpus", limits.processors.as_ref().map(ToString::to_string)),
    ];
    for (file, text) in settings {
        if let Some(text) = text {
            writeln!(out, "echo {text} > {group}/{file}")?;
        }
    }
    Ok(())
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
    use rstest::rstest;

    use super::super::facts;
    use super::super::tests::plan_with;
    use super::*;
    use crate::sys::jail::HostFacts;

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

    #[rstest]
    #[case("", "''")]
    #[case("plain/word-1.2,a=b:c@d%e+f", "plain/word-1.2,a=b:c@d%e+f")]
    #[case("two words", "'two words'")]
    #[case("it's", r"'it'\''s'")]
    #[case("'; reboot #", r"''\''; reboot #'")]
    #[case(r#"$HOME `id` "x" \"#, r#"'$HOME `id` "x" \'"#)]
    #[case("a\nb", "'a\nb'")]
    #[case("*~", "'*~'")]
    #[case("ü", "'ü'")]
    fn a_word_is_quoted_where_it_must_be(#[case] word: &str, #[case] quoted: &str) {
        assert_eq!(quote(word), quoted);
    }

    #[test]
    fn limits_are_commands() {
        let extra = r#","annotations":{"org.freebsd.rctl.maxproc":"7"},"linux":{"resources":{"memory":{"limit":4096,"swap":5120},
            "cpu":{"quota":50000,"cpus":"0-1"}}}"#;
        let lines = |facts: HostFacts| {
            let text = render(&plan_with(extra, &HostFacts { racct: true, ..facts }).unwrap());
            text.lines()
                .filter(|line| ["rctl", "cgroup", "cpuset"].iter().any(|word| line.contains(word)))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let rules = "rctl -a jail:c1:memoryuse:sigkill=4096\nrctl -a jail:c1:swapuse:deny=5120\n\
                     rctl -a jail:c1:maxproc:deny=7\nrctl -a jail:c1:pcpu:deny=50\ncpuset -l 0-1 -j c1";
        assert_eq!(lines(facts::freebsd14()), rules);
        let cgroup = "mkdir -p /sys/fs/cgroup/runj-c1\necho 4096 > /sys/fs/cgroup/runj-c1/memory.max\n\
                      echo 1024 > /sys/fs/cgroup/runj-c1/memory.swap.max\n\
                      echo 7 > /sys/fs/cgroup/runj-c1/pids.max\necho 50000 100000 > /sys/fs/cgroup/runj-c1/cpu.max\n\
                      echo 0-1 > /sys/fs/cgroup/runj-c1/cpuset.cpus";
        assert_eq!(lines(facts::linux()), cgroup);
    }
}
