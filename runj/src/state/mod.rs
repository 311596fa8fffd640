//! What is recorded of a container, and what of it is still true. Pure.

pub mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::{ContainerId, Jid};
use crate::sys::limit::Limits;
use crate::sys::process::ProcessIdentity;

/// The version of the record's format.
pub const RECORD_VERSION: u32 = 1;

/// How far a container was taken, as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// `create` is at work, or died at it.
    Creating,
    /// The entrypoint waits in the jail.
    Created,
    /// `start` has taken it and is at work for longer than it keeps the lock, or died at that.
    Starting,
    /// The program was executed.
    Running,
    /// Its processes were stopped by `pause`.
    Paused,
}

/// The status of a container (runtime-spec, runtime.md "State", with runc's `paused`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being created
    Creating,
    /// Created, not started
    Created,
    /// Running
    Running,
    /// Running, with its processes stopped
    Paused,
    /// Its process has ended
    Stopped,
}

impl Status {
    /// The word of the runtime spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a container, `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`RECORD_VERSION`]
    pub version: u32,
    /// Its id
    pub id: ContainerId,
    /// `ociVersion` of its bundle
    pub oci_version: String,
    /// Its bundle, absolute
    pub bundle: PathBuf,
    /// The directory that is the jail's root
    pub root: PathBuf,
    /// The name of its jail
    pub jail_name: String,
    /// How far it was taken
    pub stage: Stage,
    /// The number of its jail
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<Jid>,
    /// Its first process
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessIdentity>,
    /// The process that creates or starts it, or did: who is dead has left it at that
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<ProcessIdentity>,
    /// The boot it lives in, where the kernel tells
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When it was created, RFC 3339
    pub created: String,
    /// Its limits, as `create` set or `update` changed them
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Its annotations
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether its plan has hooks; who finds none need not read the plan
    #[serde(default = "unknown")]
    pub hooks: bool,
}

/// A record that does not say whether there are hooks leaves it to the plan.
fn unknown() -> bool {
    true
}

/// What a reader found out about the recorded process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Whether the recorded first process lives, in this boot.
    pub init_alive: bool,
    /// Whether it waits for `start` (asked only of [`Stage::Created`] and [`Stage::Starting`]).
    pub waiting: bool,
}

impl Record {
    /// The status, from what was recorded and what is alive.
    pub fn status(&self, seen: Observation) -> Status {
        match self.stage {
            Stage::Creating => Status::Creating,
            _ if !seen.init_alive => Status::Stopped,
            Stage::Created | Stage::Starting if seen.waiting => Status::Created,
            // Whoever started it died before it could note it.
            Stage::Created | Stage::Starting | Stage::Running => Status::Running,
            Stage::Paused => Status::Paused,
        }
    }
}

/// The state of a container as hooks get it and `state` prints it (runtime-spec, runtime.md "State"), with
/// runc's `rootfs` and `created` and the jail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState {
    /// `ociVersion` of the bundle
    pub oci_version: String,
    /// The id
    pub id: ContainerId,
    /// The status
    pub status: Status,
    /// The pid on the host, while there is a process
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The bundle's absolute path
    pub bundle: PathBuf,
    /// The root's absolute path
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339
    pub created: String,
    /// The jail
    pub jail: JailState,
    /// Annotations
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The jail of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailState {
    /// Its name, by which jls(8) and jexec(8) know it
    pub name: String,
    /// Its number
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<Jid>,
}

impl OciState {
    /// The state of a record at a status.
    pub fn new(record: &Record, status: Status) -> Self {
        let living = status != Status::Stopped;
        Self {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            status,
            pid: record.init.filter(|_| living).map(|init| init.pid),
            bundle: record.bundle.clone(),
            rootfs: record.root.clone(),
            created: record.created.clone(),
            jail: JailState { name: record.jail_name.clone(), jid: record.jid },
            annotations: record.annotations.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Stage::Creating, false, false, Status::Creating)]
    #[case(Stage::Created, true, true, Status::Created)]
    #[case(Stage::Created, true, false, Status::Running)]
    #[case(Stage::Created, false, false, Status::Stopped)]
    #[case(Stage::Starting, true, true, Status::Created)]
    #[case(Stage::Starting, true, false, Status::Running)]
    #[case(Stage::Starting, false, false, Status::Stopped)]
    #[case(Stage::Running, true, false, Status::Running)]
    #[case(Stage::Paused, true, false, Status::Paused)]
    #[case(Stage::Paused, false, false, Status::Stopped)]
    fn status_is_what_is_recorded_and_alive(
        #[case] stage: Stage,
        #[case] init_alive: bool,
        #[case] waiting: bool,
        #[case] status: Status,
    ) {
        let record = Record {
            version: RECORD_VERSION,
            id: "c".parse().unwrap(),
            oci_version: "1.0.0".into(),
            bundle: "/b".into(),
            root: "/b/root".into(),
            jail_name: "c".into(),
            stage,
            jid: None,
            init: Some(ProcessIdentity { pid: 7, start: 9 }),
            operator: None,
            boot_id: None,
            created: String::new(),
            limits: Limits::default(),
            annotations: BTreeMap::new(),
            hooks: false,
        };
        assert_eq!(record.status(Observation { init_alive, waiting }), status);
        assert_eq!(OciState::new(&record, status).pid.is_some(), status != Status::Stopped);
    }
}
