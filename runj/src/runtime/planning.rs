//! From a bundle to its plan: what has to be looked up on this machine before [`crate::plan`] can decide.

use std::path::{Path, PathBuf};

use super::create::CreateRequest;
use super::{Result, Runtime, devices};
use crate::bundle::Bundle;
use crate::config::{Config, Problem};
use crate::id::ContainerId;
use crate::plan::explain::{self, Explained};
use crate::plan::{self, Place, Plan, Problems};
use crate::sys::Kernel;
use crate::sys::jail::{HostFacts, System};

/// A plan, or everything that stands in its way.
pub type Planned = std::result::Result<Plan, Problems>;

/// Reads a bundle and plans it for this host; changes nothing.
pub(super) fn plan_bundle<K: Kernel>(runtime: &Runtime<'_, K>, request: &CreateRequest) -> Result<(Plan, HostFacts)> {
    let bundle = Bundle::read(&request.bundle)?;
    let mut config = Config::parse(&bundle.config, bundle.ext.as_deref())?;
    let mut facts = runtime.kernel.facts_of(Some(&plan::jail::asked(&config)))?;
    if plan::limit::concerns(&config, facts.system) {
        facts.racct = runtime.kernel.accounts()?;
    }
    if plan::limit::confines(&config.linux.resources) {
        facts.processors = runtime.kernel.processors()?;
    }
    resolve_parent(runtime, &mut config);
    let planned = plan_config(&config, &bundle.directory, &request.jail_name, &facts);
    if log::log_enabled!(log::Level::Debug) {
        log_ignored(&bundle, &config, &planned, &facts);
    }
    let plan = planned?;
    if facts.system == System::Linux {
        devices::check(&config.linux.devices)?;
    }
    Ok((plan, facts))
}

/// Plans a configuration, with its root looked up; tells all problems at once.
pub fn plan_config(config: &Config, bundle: &Path, name: &ContainerId, facts: &HostFacts) -> Planned {
    let (root, problem) = match find_root(config, bundle) {
        Ok(root) => (root, None),
        Err(problem) => (plan::configured_root(config, bundle), Some(problem)),
    };
    let planned = Plan::new(config, Place { bundle, root: &root }, name, facts);
    let Some(problem) = problem else { return planned };
    let mut problems = planned.err().unwrap_or(Problems(Vec::new()));
    if !problems.0.iter().any(|known| known.property == problem.property) {
        problems.0.push(problem);
    }
    Err(problems)
}

/// One line that names what engines send and a jail has no use for.
fn log_ignored(bundle: &Bundle, config: &Config, outcome: &Planned, facts: &HostFacts) {
    let Ok(json) = serde_json::from_slice(&bundle.config) else { return };
    let lines = explain::explain(&Explained { json: &json, ext: None, config, outcome, facts });
    let names = explain::ignored(&lines);
    if !names.is_empty() {
        let list: Vec<String> = names.into_iter().collect();
        log::debug!("ignored, as plan --explain explains: {}", list.join(", "));
    }
}

/// A parent is a container's id first, else a jail's name.
fn resolve_parent<K: Kernel>(runtime: &Runtime<'_, K>, config: &mut Config) {
    let container = config.jail.parent.as_deref().and_then(|parent| parent.parse::<ContainerId>().ok());
    if let Some(record) = container.and_then(|id| runtime.store.read(&id).ok()) {
        config.jail.parent = Some(record.jail_name);
    }
}

/// The canonical directory of the root.
fn find_root(config: &Config, bundle: &Path) -> std::result::Result<PathBuf, Problem> {
    let configured = plan::configured_root(config, bundle);
    let refuse = |message: String| Problem::new("root.path", message);
    let root = configured.canonicalize().map_err(|error| refuse(format!("{}: {error}", configured.display())))?;
    if !root.is_dir() {
        return Err(refuse(format!("{}: not a directory", root.display())));
    }
    if root == Path::new("/") {
        return Err(refuse("/ is the host's own root".to_owned()));
    }
    Ok(root)
}
