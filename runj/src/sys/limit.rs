//! Limits as values: what engines ask for in neutral units, and rules of rctl(8). Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::processors::Processors;

/// The CPU period of whoever names none, in microseconds.
pub const CPU_PERIOD: u64 = 100_000;

/// Limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// Rules of rctl(8) that none of the others stands for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// On Linux the cgroup to be made and joined: its path below the cgroup mount (`/machine/abc`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// Memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Memory and swap together, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// Number of processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// CPU quota and period, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<(u64, u64)>,
    /// The processors that may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<Processors>,
}

impl Limits {
    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is left of [`Limits::swap`] for swap alone when all memory is used.
    pub fn swap_beside_memory(&self) -> Option<u64> {
        self.swap.map(|swap| swap.saturating_sub(self.memory.unwrap_or(0)))
    }

    /// All of them as rules. Memory cannot be denied (resident memory has no `deny`), so its limit kills; the CPU limit
    /// is in percent of one processor. `swapuse` counts what is reserved, be it in memory or in swap in the end.
    pub fn as_rules(&self) -> Vec<Rule> {
        let percent = |(quota, period): (u64, u64)| quota.saturating_mul(100).checked_div(period).unwrap_or(0).max(1);
        let of_memory = self.memory.map(|bytes| Rule::new("memoryuse", "sigkill", bytes));
        let of_swap = self.swap.map(|bytes| Rule::new("swapuse", "deny", bytes));
        let of_pids = self.pids.map(|count| Rule::new("maxproc", "deny", count));
        let of_cpu = self.cpu.map(|cpu| Rule::new("pcpu", "deny", percent(cpu)));
        self.rules.iter().cloned().chain(of_memory).chain(of_swap).chain(of_pids).chain(of_cpu).collect()
    }

    /// The slot of what a rule of this subject means in neutral units, and none for any other rule.
    fn set_neutral(&mut self, resource: &str, action: &str, amount: Option<u64>) -> bool {
        match (resource, action) {
            ("memoryuse", "sigkill") => self.memory = amount,
            ("swapuse", "deny") => self.swap = amount,
            ("maxproc", "deny") => self.pids = amount,
            ("pcpu", "deny") => {
                self.cpu = amount.map(|percent| (percent.saturating_mul(CPU_PERIOD / 100), CPU_PERIOD));
            }
            _ => return false,
        }
        true
    }

    /// The rule of this resource and action among [`Limits::as_rules`].
    pub fn rule(&self, resource: &str, action: &str) -> Option<Rule> {
        self.as_rules().into_iter().find(|rule| rule.resource == resource && rule.action == action)
    }

    /// Takes a rule in, into the place of one of the same resource and action.
    pub fn set(&mut self, rule: Rule) {
        if !self.set_neutral(&rule.resource, &rule.action, Some(rule.amount)) {
            self.rules.retain(|known| known.resource != rule.resource || known.action != rule.action);
            self.rules.push(rule);
        }
    }

    /// Drops the rule of this resource and action.
    pub fn lift(&mut self, resource: &str, action: &str) {
        if !self.set_neutral(resource, action, None) {
            self.rules.retain(|known| known.resource != resource || known.action != action);
        }
    }
}

/// A rule of rctl(8) without its subject, which is the jail: `openfiles:deny=64`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    resource: String,
    action: String,
    amount: u64,
}

/// What, beside `log`, `devctl` and a signal, the kernel can do about a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    /// Deny it.
    Deny,
    /// Hold it up.
    Throttle,
    /// Nothing, as of resident memory: rctl(8) takes `deny` for it, and the kernel never denies it.
    Nothing,
}

/// rctl(8), "RESOURCES".
const RESOURCES: [(&str, Force); 25] = [
    ("cputime", Force::Nothing),
    ("datasize", Force::Deny),
    ("stacksize", Force::Deny),
    ("coredumpsize", Force::Deny),
    ("memoryuse", Force::Nothing),
    ("memorylocked", Force::Deny),
    ("maxproc", Force::Deny),
    ("openfiles", Force::Deny),
    ("vmemoryuse", Force::Deny),
    ("pseudoterminals", Force::Deny),
    ("swapuse", Force::Deny),
    ("nthr", Force::Deny),
    ("msgqqueued", Force::Deny),
    ("msgqsize", Force::Deny),
    ("nmsgq", Force::Deny),
    ("nsem", Force::Deny),
    ("nsemop", Force::Deny),
    ("nshm", Force::Deny),
    ("shmsize", Force::Deny),
    ("wallclock", Force::Nothing),
    ("pcpu", Force::Deny),
    ("readbps", Force::Throttle),
    ("writebps", Force::Throttle),
    ("readiops", Force::Throttle),
    ("writeiops", Force::Throttle),
];

/// The signals that a rule may send, without `sig` (`actionnames` in kern_rctl.c); `sigcont` is none of them.
const SIGNALS: [&str; 31] = [
    "hup", "int", "quit", "ill", "trap", "abrt", "emt", "fpe", "kill", "bus", "segv", "sys", "pipe", "alrm", "term",
    "urg", "stop", "tstp", "chld", "ttin", "ttou", "io", "xcpu", "xfsz", "vtalrm", "prof", "winch", "info", "usr1",
    "usr2", "thr",
];

/// Why something is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// Not of the form.
    #[error("is not RESOURCE:ACTION=AMOUNT")]
    Form,
    /// No resource.
    #[error("rctl(8) knows no resource {resource:?}; it knows {}", RESOURCES.map(|(name, _)| name).join(", "))]
    Resource {
        /// What was given.
        resource: String,
    },
    /// No action.
    #[error("rctl(8) knows no action {action:?}; it knows deny, log, devctl, throttle and signals, as sigterm")]
    Action {
        /// What was given.
        action: String,
    },
    /// An action that this resource does not have.
    #[error(
        "{resource} has no {action}: the kernel can {}log, devctl or send a signal, as sigkill",
        alternative(resource)
    )]
    Unable {
        /// The resource.
        resource: String,
        /// The action.
        action: String,
    },
    /// No amount.
    #[error("{amount:?} is not an amount: a number, with k, m, g, t, p or e for powers of 1024")]
    Amount {
        /// What was given.
        amount: String,
    },
    /// An amount for each user or process.
    #[error("{amount:?}: the rule is the jail's, an amount for each user or process is not taken")]
    Per {
        /// What was given.
        amount: String,
    },
}

fn force(resource: &str) -> Option<Force> {
    RESOURCES.iter().find(|(name, _)| *name == resource).map(|(_, force)| *force)
}

fn alternative(resource: &str) -> &'static str {
    match force(resource) {
        Some(Force::Deny) => "deny, ",
        Some(Force::Throttle) => "throttle, ",
        Some(Force::Nothing) | None => "",
    }
}

impl Rule {
    fn new(resource: &str, action: &str, amount: u64) -> Self {
        Self { resource: resource.to_owned(), action: action.to_owned(), amount }
    }

    /// A rule of its parts; without an action the one that makes the amount a limit: `deny`, for rates `throttle`, and
    /// `sigkill` where the kernel can do neither.
    pub fn of_parts(resource: &str, action: Option<&str>, amount: &str) -> Result<Self, RuleError> {
        let force = force(resource).ok_or_else(|| RuleError::Resource { resource: resource.to_owned() })?;
        let action = match (action, force) {
            (Some(action), _) => action,
            (None, Force::Deny) => "deny",
            (None, Force::Throttle) => "throttle",
            (None, Force::Nothing) => "sigkill",
        };
        let is_signal = action.strip_prefix("sig").is_some_and(|name| SIGNALS.contains(&name));
        match action {
            "log" | "devctl" => {}
            "deny" if force == Force::Deny => {}
            "throttle" if force == Force::Throttle => {}
            "deny" | "throttle" => {
                return Err(RuleError::Unable { resource: resource.to_owned(), action: action.to_owned() });
            }
            _ if is_signal => {}
            _ => return Err(RuleError::Action { action: action.to_owned() }),
        }
        if amount.contains('/') {
            return Err(RuleError::Per { amount: amount.to_owned() });
        }
        let number = parse_amount(amount).ok_or_else(|| RuleError::Amount { amount: amount.to_owned() })?;
        Ok(Self::new(resource, action, number))
    }

    /// The resource.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What is done when the amount is exceeded.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The amount: bytes, seconds, a number, percent of a processor, a rate in a second.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// `RESOURCE:ACTION`: what a rule is replaced and removed by.
    pub fn subject(&self) -> String {
        format!("{}:{}", self.resource, self.action)
    }
}

/// A number with k, m, g, t, p or e for powers of 1024 (expand_number(3)), which the kernel takes as 63 bits.
pub fn parse_amount(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &lower[digits.len()..] {
        "" | "b" => 0,
        unit => {
            let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit);
            ["k", "m", "g", "t", "p", "e"].iter().position(|known| *known == unit)? + 1
        }
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    u64::try_from(number.checked_mul(1 << (10 * power))?).ok()
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (subject, amount) = text.split_once('=').ok_or(RuleError::Form)?;
        let (resource, action) = subject.split_once(':').ok_or(RuleError::Form)?;
        if resource.is_empty() || action.is_empty() || action.contains(':') || amount.is_empty() {
            return Err(RuleError::Form);
        }
        Self::of_parts(resource, Some(action), amount)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.resource, self.action, self.amount)
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("openfiles:deny=64", "openfiles:deny=64")]
    #[case("vmemoryuse:deny=2g", "vmemoryuse:deny=2147483648")]
    #[case("readbps:throttle=1M", "readbps:throttle=1048576")]
    #[case("cputime:sigxcpu=3", "cputime:sigxcpu=3")]
    #[case("wallclock:devctl=60", "wallclock:devctl=60")]
    #[case("memoryuse:log=5kb", "memoryuse:log=5120")]
    fn a_rule_is_read_and_written(#[case] text: &str, #[case] shown: &str) {
        let rule: Rule = text.parse().unwrap();
        assert_eq!(rule.to_string(), shown);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
    }

    #[rstest]
    #[case("memoryuse", "is not RESOURCE:ACTION=AMOUNT")]
    #[case("memoryuse:deny", "is not RESOURCE:ACTION=AMOUNT")]
    #[case(":deny=1", "is not RESOURCE:ACTION=AMOUNT")]
    #[case("jail:x:openfiles:deny=1", "is not RESOURCE:ACTION=AMOUNT")]
    #[case("openfiles:deny=", "is not RESOURCE:ACTION=AMOUNT")]
    #[case("openfile:deny=1", "knows no resource \"openfile\"; it knows cputime, datasize,")]
    #[case("openfiles:refuse=1", "knows no action \"refuse\"")]
    #[case("openfiles:sigcont=1", "knows no action \"sigcont\"")]
    #[case("openfiles:throttle=1", "openfiles has no throttle: the kernel can deny, log, devctl or")]
    #[case("memoryuse:deny=1", "memoryuse has no deny: the kernel can log, devctl or send a signal")]
    #[case("readbps:deny=1", "readbps has no deny: the kernel can throttle, log")]
    #[case("openfiles:deny=1/process", "the rule is the jail's")]
    #[case("openfiles:deny=-1", "\"-1\" is not an amount")]
    #[case("openfiles:deny=1x", "\"1x\" is not an amount")]
    #[case("openfiles:deny=9e", "\"9e\" is not an amount")]
    #[case("openfiles:deny=1.5k", "is not an amount")]
    fn what_is_no_rule_says_why(#[case] text: &str, #[case] words: &str) {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[rstest]
    #[case("openfiles", "openfiles:deny=1")]
    #[case("readiops", "readiops:throttle=1")]
    #[case("memoryuse", "memoryuse:sigkill=1")]
    #[case("cputime", "cputime:sigkill=1")]
    fn an_amount_alone_is_a_limit(#[case] resource: &str, #[case] rule: &str) {
        assert_eq!(Rule::of_parts(resource, None, "1").unwrap().to_string(), rule);
    }

    fn shown(limits: &Limits) -> Vec<String> {
        limits.as_rules().iter().map(Rule::to_string).collect()
    }

    #[test]
    fn limits_are_rules() {
        let limits = Limits {
            rules: vec!["openfiles:deny=64".parse().unwrap()],
            memory: Some(1 << 20),
            swap: Some(3 << 20),
            pids: Some(7),
            cpu: Some((150_000, 100_000)),
            ..Limits::default()
        };
        assert_eq!(
            shown(&limits),
            [
                "openfiles:deny=64",
                "memoryuse:sigkill=1048576",
                "swapuse:deny=3145728",
                "maxproc:deny=7",
                "pcpu:deny=150"
            ]
        );
        assert_eq!(shown(&Limits { cpu: Some((1, 100_000)), ..Limits::default() }), ["pcpu:deny=1"]);
    }

    #[test]
    fn a_rule_that_has_a_neutral_meaning_gets_it() {
        let mut limits = Limits::default();
        for rule in ["memoryuse:sigkill=5", "memoryuse:log=4", "maxproc:deny=6", "pcpu:deny=150", "nthr:deny=7"] {
            limits.set(rule.parse().unwrap());
        }
        assert_eq!((limits.memory, limits.pids, limits.cpu), (Some(5), Some(6), Some((150_000, 100_000))));
        assert_eq!(limits.rule("pcpu", "deny").unwrap().amount(), 150);
        limits.set("nthr:deny=8".parse().unwrap());
        limits.lift("memoryuse", "log");
        limits.lift("maxproc", "deny");
        assert_eq!(shown(&limits), ["nthr:deny=8", "memoryuse:sigkill=5", "pcpu:deny=150"]);
    }
}
