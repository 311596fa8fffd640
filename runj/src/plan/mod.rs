//! The plan: everything that `create` will do, decided before anything is done. Pure.
//!
//! A plan is a function of the configuration, the bundle and [`HostFacts`], a value, so that a plan for FreeBSD
//! can be made and tested on Linux. All problems are collected, not the first alone. Nothing here acts.

pub mod coverage;
pub mod device;
pub mod explain;
pub mod facts;
pub mod jail;
pub mod limit;
pub mod linux;
pub mod mount;
pub mod net;
pub mod process;
pub mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Problem, ext};
pub use crate::config::{Hook, Hooks};
use crate::id::ContainerId;
use crate::sys::jail::{HostFacts, JailParams, System};
use crate::sys::limit::Limits;
use mount::MountStep;
use net::Network;
use process::ProcessPlan;

/// Everything that is to be done for a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `ociVersion` of the bundle
    pub oci_version: String,
    /// The system it was made for
    pub system: System,
    /// The bundle's directory, absolute
    pub bundle: PathBuf,
    /// The root file system
    pub root: RootPlan,
    /// The jail
    pub jail: JailParams,
    /// Limits of the jail
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Mounts, in order
    pub mounts: Vec<MountStep>,
    /// Addresses and interfaces
    pub network: Network,
    /// The program
    pub process: ProcessPlan,
    /// Hooks
    pub hooks: Hooks,
    /// Annotations
    pub annotations: BTreeMap<String, String>,
    /// What was asked for and is left out knowingly
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootPlan {
    /// Its directory, absolute and free of links
    pub path: PathBuf,
    /// Whether the jail sees it through a read-only alias
    pub read_only: bool,
}

/// Where the bundle and its root are, found by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The bundle's canonical directory
    pub bundle: &'a Path,
    /// The root's canonical directory
    pub root: &'a Path,
}

/// Every reason why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Those of another file begin with its name.
        let of_ext = self.0.first().is_some_and(|problem| problem.property.starts_with(ext::FILE));
        write!(f, "{}{}", if of_ext { "" } else { "config.json: " }, join(&self.0))
    }
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl std::error::Error for Problems {}

impl Plan {
    /// Makes the plan, or lists everything that stands in its way.
    pub fn new(config: &Config, place: Place<'_>, id: &ContainerId, facts: &HostFacts) -> Result<Self, Problems> {
        let mut problems = config.problems.clone();
        let mut warnings = Vec::new();
        check_version(&config.oci_version, &mut problems);
        check_text(config, &mut problems);
        check_hooks(&config.hooks, &mut problems);
        if facts.system == System::Linux {
            linux::check(config, &mut problems);
        }
        let network = net::plan(config, &mut problems);
        let jail = jail::plan(config, &network, id, facts, &mut problems);
        // The spec has unknown properties ignored; that a permission is not understood is worth a word.
        let unknown = config.jail.allow.unknown.keys();
        warnings.extend(unknown.map(|name| format!("freebsd.jail.allow.{name}: unknown property, ignored")));
        let plan = Self {
            oci_version: config.oci_version.clone(),
            system: facts.system,
            bundle: place.bundle.to_path_buf(),
            root: RootPlan { path: place.root.to_path_buf(), read_only: config.root_read_only },
            limits: limit::plan(config, jail.text("name"), facts, &mut problems, &mut warnings),
            jail,
            mounts: mount::plan(config, place.bundle, facts, &mut problems),
            network,
            process: process::plan_of_config(config, facts.system, &mut problems),
            hooks: config.hooks.clone(),
            annotations: config.annotations.clone(),
            warnings,
        };
        // What stands in the place of an unreadable value is no problem of its own.
        let unreadable = Places::new(config.unreadable.iter().map(|problem| problem.property.as_str()));
        problems.retain(|problem| unreadable.related(&problem.property).next().is_none());
        let mut all = config.unreadable.clone();
        all.append(&mut problems);
        if all.is_empty() { Ok(plan) } else { Err(Problems(all)) }
    }

    /// The name of the jail.
    pub fn jail_name(&self) -> &str {
        self.jail.text("name").unwrap_or_default()
    }
}

/// Properties, to be found by those that they are in and by those that are in them, however many there are.
struct Places<'a> {
    exact: BTreeMap<&'a str, Vec<usize>>,
    around: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Places<'a> {
    fn new(properties: impl Iterator<Item = &'a str>) -> Self {
        let (mut exact, mut around) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (number, list) in properties.enumerate() {
            // One problem may be of several properties.
            for property in list.split(", ") {
                exact.entry(property).or_default().push(number);
                outer(property).for_each(|outer| around.entry(outer).or_default().push(number));
            }
        }
        Self { exact, around }
    }

    /// The numbers of those that are the property, or in it, or around it.
    fn related<'p>(&'p self, property: &'p str) -> impl Iterator<Item = usize> + 'p {
        let around = outer(property).chain([property]).filter_map(|place| self.exact.get(place));
        around.chain(self.around.get(property)).flatten().copied()
    }
}

/// What a property is in: of `a.b[0].c`, `a`, `a.b` and `a.b[0]`. No property that matters is deeper than a few levels.
fn outer(property: &str) -> impl Iterator<Item = &str> {
    property.match_indices(['.', '[']).take(8).map(|(end, _)| &property[..end])
}

/// The root of a bundle as configured, relative to the bundle (`root.path`; Go runj defaults to `root`).
pub fn configured_root(config: &Config, bundle: &Path) -> PathBuf {
    bundle.join(config.root_path.as_deref().unwrap_or(Path::new("root")))
}

/// Semantic version 1.x is accepted (runtime-spec, config.md "Specification version").
fn check_version(version: &str, problems: &mut Vec<Problem>) {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, _, _]) => {}
        Some([_, _, _]) => problems.push(Problem::new("ociVersion", format!("{version:?} is not supported: 1.x is"))),
        _ if version.is_empty() => problems.push(Problem::new("ociVersion", "missing")),
        _ => problems.push(Problem::new("ociVersion", format!("{version:?} is not a version (MAJOR.MINOR.PATCH)"))),
    }
}

/// No text may hold a NUL: the kernel would end it there.
fn check_text(config: &Config, problems: &mut Vec<Problem>) {
    let mut check = |property: String, bytes: &[u8]| {
        if bytes.contains(&0) {
            problems.push(Problem::new(property, "contains a NUL character"));
        }
    };
    let path = |path: &Path| -> Vec<u8> { path.as_os_str().as_encoded_bytes().to_vec() };
    if let Some(root) = &config.root_path {
        check("root.path".into(), &path(root));
    }
    check("hostname".into(), config.hostname.as_deref().unwrap_or_default().as_bytes());
    check("domainname".into(), config.domainname.as_deref().unwrap_or_default().as_bytes());
    for (index, mount) in config.mounts.iter().enumerate() {
        check(format!("mounts[{index}].destination"), &path(&mount.destination));
        check(format!("mounts[{index}].source"), &path(mount.source.as_deref().unwrap_or(Path::new(""))));
        check(format!("mounts[{index}].type"), mount.fstype.as_deref().unwrap_or_default().as_bytes());
        for (number, option) in mount.options.iter().enumerate() {
            check(format!("mounts[{index}].options[{number}]"), option.as_bytes());
        }
    }
    for (kind, hooks) in config.hooks.kinds() {
        for (index, hook) in hooks.iter().enumerate() {
            check(format!("hooks.{kind}[{index}].path"), &path(&hook.path));
            for (name, list) in [("args", &hook.args), ("env", &hook.env)] {
                for (number, text) in list.iter().enumerate() {
                    check(format!("hooks.{kind}[{index}].{name}[{number}]"), text.as_bytes());
                }
            }
        }
    }
}

fn check_hooks(hooks: &Hooks, problems: &mut Vec<Problem>) {
    for (kind, list) in hooks.kinds() {
        for (index, hook) in list.iter().enumerate() {
            let property = format!("hooks.{kind}[{index}]");
            if !hook.path.is_absolute() {
                problems.push(Problem::new(format!("{property}.path"), "must be an absolute path"));
            }
            if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                problems.push(Problem::new(format!("{property}.timeout"), "must be greater than zero"));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;

    use super::*;

    /// The plan of a configuration with a good frame around `extra`.
    pub(crate) fn plan_with(extra: &str, facts: &HostFacts) -> Result<Plan, Problems> {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","process":{{"args":["/bin/sh"],"cwd":"/"}},"root":{{"path":"root"}}{extra}}}"#
        );
        plan_text(&text, facts)
    }

    /// The plan of a whole configuration.
    pub(crate) fn plan_text(text: &str, facts: &HostFacts) -> Result<Plan, Problems> {
        let config = Config::parse(text.as_bytes(), None).unwrap();
        let place = Place { bundle: Path::new("/bundle"), root: Path::new("/bundle/root") };
        Plan::new(&config, place, &"c1".parse().unwrap(), facts)
    }

    /// The text of the problems.
    pub(crate) fn problems(extra: &str) -> String {
        plan_with(extra, &facts::freebsd14()).unwrap_err().to_string()
    }

    #[rstest]
    #[case("1.0.2", true)]
    #[case("1.3.0", true)]
    #[case("1.2.1-rc.1+dev", true)]
    #[case("2.0.0", false)]
    #[case("1", false)]
    #[case("one", false)]
    #[case("", false)]
    fn versions(#[case] version: &str, #[case] good: bool) {
        let mut problems = Vec::new();
        check_version(version, &mut problems);
        assert_eq!(problems.is_empty(), good, "{problems:?}");
    }

    #[test]
    fn all_problems_are_listed() {
        let text = r#"{"ociVersion":"9.0.0","process":{"args":[],"cwd":"x"},"root":{"path":"r"},
            "mounts":[{"destination":"rel","type":"tmpfs"}],"hooks":{"poststop":[{"path":"x","timeout":0}]}}"#;
        let error = plan_text(text, &facts::freebsd14()).unwrap_err().to_string();
        for part in
            ["ociVersion", "process.args", "process.cwd", "mounts[0].destination", "hooks.poststop[0].path", "timeout"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_nul_is_named() {
        assert!(problems(r#","hostname":"a\u0000b""#).contains("hostname: contains a NUL"));
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plan = plan_with(r#","mounts":[{"destination":"/dev","type":"devfs"}]"#, &facts::freebsd14()).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
