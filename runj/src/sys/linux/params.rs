//! What the parameters of a jail ask of the emulation. Pure; refuses as jail_set(2) does.

use std::net::IpAddr;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::sys::jail::{JailParams, JailSys, ParamValue};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flag,
    Int,
    Text,
    /// disable, new or inherit
    Sys,
    /// new or inherit
    Own,
    Ip4,
    Ip6,
}

/// Every parameter that the emulation understands.
const KNOWN: &[(&str, Kind)] = &[
    ("jid", Kind::Int),
    ("name", Kind::Text),
    ("path", Kind::Text),
    ("persist", Kind::Flag),
    ("enforce_statfs", Kind::Int),
    ("devfs_ruleset", Kind::Int),
    ("children.max", Kind::Int),
    ("host", Kind::Own),
    ("host.hostname", Kind::Text),
    ("host.domainname", Kind::Text),
    ("host.hostuuid", Kind::Text),
    ("host.hostid", Kind::Int),
    ("ip4", Kind::Sys),
    ("ip4.addr", Kind::Ip4),
    ("ip4.saddrsel", Kind::Flag),
    ("ip6", Kind::Sys),
    ("ip6.addr", Kind::Ip6),
    ("ip6.saddrsel", Kind::Flag),
    ("vnet", Kind::Own),
    ("sysvmsg", Kind::Sys),
    ("sysvsem", Kind::Sys),
    ("sysvshm", Kind::Sys),
    ("allow.set_hostname", Kind::Flag),
    ("allow.raw_sockets", Kind::Flag),
    ("allow.chflags", Kind::Flag),
    ("allow.mount", Kind::Flag),
    ("allow.mount.devfs", Kind::Flag),
    ("allow.mount.fdescfs", Kind::Flag),
    ("allow.mount.linprocfs", Kind::Flag),
    ("allow.mount.linsysfs", Kind::Flag),
    ("allow.mount.nullfs", Kind::Flag),
    ("allow.mount.procfs", Kind::Flag),
    ("allow.mount.tmpfs", Kind::Flag),
    ("allow.quotas", Kind::Flag),
    ("allow.read_msgbuf", Kind::Flag),
    ("allow.socket_af", Kind::Flag),
    ("allow.mlock", Kind::Flag),
    ("allow.reserved_ports", Kind::Flag),
    ("allow.unprivileged_proc_debug", Kind::Flag),
    ("allow.suser", Kind::Flag),
    ("linux.netns", Kind::Text),
    ("linux.ipcns", Kind::Text),
    ("linux.utsns", Kind::Text),
];

/// The names of all parameters.
pub fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// The largest jid (`JAIL_MAX`).
pub const JAIL_MAX: i32 = 999_999;

/// The longest name or host name, in bytes (`MAXHOSTNAMELEN - 1`; Linux takes 64 of a host name).
const MAX_NAME: usize = 255;

/// Where a jail gets a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// Its own.
    Own,
    /// Its parent's, the host's without one.
    Shared,
    /// The one at this path.
    Joined(PathBuf),
}

/// A jail to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its jid, if it claims one.
    pub jid: Option<i32>,
    /// Its name; none is the jid.
    pub name: Option<String>,
    /// Its root directory, as given.
    pub path: PathBuf,
    /// Host and domain name.
    pub uts: Space,
    /// The host name of its own.
    pub hostname: String,
    /// The domain name of its own.
    pub domainname: String,
    /// System V IPC and POSIX message queues.
    pub ipc: Space,
    /// The network.
    pub net: Space,
    /// Addresses that the network of its own gets from the host.
    pub addresses: Vec<IpAddr>,
}

impl Wanted {
    /// The name of the parent jail: all before the last dot.
    pub fn parent(&self) -> Option<&str> {
        self.name.as_deref().and_then(|name| name.rsplit_once('.')).map(|(parent, _)| parent)
    }
}

/// A refusal: the number and the kernel's words, which it often has none of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number.
    pub errno: Errno,
    /// The words.
    pub message: String,
}

impl Refusal {
    /// A refusal with words.
    pub fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self { errno, message: message.into() }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::new(errno, errno.desc())
    }
}

/// Checks names, types and ranges, for a new jail and for an update.
pub fn check(params: &JailParams) -> Result<(), Refusal> {
    for (name, value) in &params.0 {
        let kind = KNOWN.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| Refusal::new(Errno::EINVAL, format!("unknown parameter: {name}")))?;
        match (kind, value) {
            (Kind::Flag, ParamValue::Flag(true)) if matches!(name.as_str(), "allow.chflags" | "allow.quotas") => {
                let message = format!("{name}: the emulation on Linux has nothing that it could allow");
                return Err(Refusal::new(Errno::EOPNOTSUPP, message));
            }
            (Kind::Own, ParamValue::Sys(JailSys::Disable)) => return Err(Errno::EINVAL.into()),
            (Kind::Int, ParamValue::Int(value)) if name == "enforce_statfs" && !(0..=2).contains(value) => {
                return Err(Errno::EINVAL.into());
            }
            (Kind::Int, ParamValue::Int(value)) if name == "devfs_ruleset" && !(0..=65535).contains(value) => {
                return Err(Errno::EINVAL.into());
            }
            (Kind::Text, ParamValue::Text(text)) if name.contains("name") && text.len() > MAX_NAME => {
                return Err(Errno::ENAMETOOLONG.into());
            }
            (Kind::Flag, ParamValue::Flag(_))
            | (Kind::Int, ParamValue::Int(_))
            | (Kind::Text, ParamValue::Text(_))
            | (Kind::Sys | Kind::Own, ParamValue::Sys(_))
            | (Kind::Ip4, ParamValue::Ip4(_))
            | (Kind::Ip6, ParamValue::Ip6(_)) => {}
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    Ok(())
}

/// Reads the parameters of a new jail.
pub fn wanted(params: &JailParams) -> Result<Wanted, Refusal> {
    check(params)?;
    if params.get("persist") != Some(&ParamValue::Flag(true)) {
        return Err(Refusal::new(Errno::EINVAL, "new jail must persist or attach"));
    }
    let (jid, name) = identify(params)?;
    let path = params.text("path").unwrap_or("/");
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let joined = |name: &str| params.text(name).map(|path| Space::Joined(path.into()));
    let (hostname, domainname) = (params.text("host.hostname"), params.text("host.domainname"));
    let own_host = hostname.is_some() || domainname.is_some() || params.sys("host") != Some(JailSys::Inherit);
    let shares_ipc = ["sysvmsg", "sysvsem", "sysvshm"].iter().all(|name| params.sys(name) == Some(JailSys::Inherit));
    let addresses = addresses(params)?;
    let own_net = match params.sys("vnet") {
        Some(JailSys::New) => {
            if ["ip4", "ip4.addr", "ip6", "ip6.addr"].iter().any(|name| params.get(name).is_some()) {
                return Err(Refusal::new(Errno::EINVAL, "vnet jails cannot have IP address restrictions"));
            }
            true
        }
        _ => ["ip4", "ip6"].iter().all(|family| params.sys(family) != Some(JailSys::Inherit)),
    };
    let own = |own: bool| if own { Space::Own } else { Space::Shared };
    Ok(Wanted {
        jid,
        name,
        path: path.into(),
        uts: joined("linux.utsns").unwrap_or(own(own_host)),
        hostname: hostname.unwrap_or_default().to_owned(),
        domainname: domainname.unwrap_or_default().to_owned(),
        ipc: joined("linux.ipcns").unwrap_or(own(!shares_ipc)),
        net: joined("linux.netns").unwrap_or(own(own_net)),
        addresses,
    })
}

/// jid and name: a name of digits claims the jid, an empty one is none.
fn identify(params: &JailParams) -> Result<(Option<i32>, Option<String>), Refusal> {
    let jid = match params.get("jid") {
        Some(ParamValue::Int(0)) | None => None,
        Some(ParamValue::Int(jid)) if (1..=JAIL_MAX).contains(jid) => Some(*jid),
        Some(ParamValue::Int(jid)) if *jid < 0 => return Err(Refusal::new(Errno::EINVAL, "negative jid")),
        Some(_) => return Err(Errno::EINVAL.into()),
    };
    let Some(name) = params.text("name").filter(|name| !name.is_empty()) else { return Ok((jid, None)) };
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = last.strip_prefix(['+', '-']).unwrap_or(last);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((jid, Some(name.to_owned())));
    }
    if last.starts_with('-') {
        return Err(Refusal::new(Errno::EINVAL, "negative jid"));
    }
    let claimed = last.parse().ok().filter(|claim: &i32| (1..=JAIL_MAX).contains(claim) && claim.to_string() == last);
    match claimed {
        Some(claim) if jid.is_none_or(|jid| jid == claim) => Ok((Some(claim), Some(name.to_owned()))),
        _ => Err(Refusal::new(Errno::EINVAL, "name cannot be numeric (unless it is the jid)")),
    }
}

fn addresses(params: &JailParams) -> Result<Vec<IpAddr>, Refusal> {
    let mut list: Vec<IpAddr> = Vec::new();
    if let Some(ParamValue::Ip4(addresses)) = params.get("ip4.addr") {
        list.extend(addresses.iter().copied().map(IpAddr::V4));
    }
    if let Some(ParamValue::Ip6(addresses)) = params.get("ip6.addr") {
        list.extend(addresses.iter().copied().map(IpAddr::V6));
    }
    let repeated = |index: usize| list[..index].contains(&list[index]);
    if (0..list.len()).any(|index| list[index].is_unspecified() || repeated(index)) {
        return Err(Errno::EINVAL.into());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rstest::rstest;

    use super::*;

    fn params(list: &[(&str, ParamValue)]) -> JailParams {
        let mut params = JailParams::default();
        params.set("persist", ParamValue::Flag(true));
        for (name, value) in list {
            params.set(name, value.clone());
        }
        params
    }

    fn text(value: &str) -> ParamValue {
        ParamValue::Text(value.to_owned())
    }

    const NEW: ParamValue = ParamValue::Sys(JailSys::New);
    const INHERIT: ParamValue = ParamValue::Sys(JailSys::Inherit);
    const DISABLE: ParamValue = ParamValue::Sys(JailSys::Disable);

    #[test]
    fn what_is_not_asked_for_is_not_shared() {
        let wanted = wanted(&params(&[])).unwrap();
        assert_eq!((wanted.uts, wanted.ipc, wanted.net), (Space::Own, Space::Own, Space::Own));
        assert_eq!((wanted.jid, wanted.name, wanted.path), (None, None, PathBuf::from("/")));
    }

    #[rstest]
    #[case(INHERIT, INHERIT, Space::Shared)]
    #[case(INHERIT, DISABLE, Space::Shared)]
    #[case(DISABLE, DISABLE, Space::Own)]
    #[case(NEW, DISABLE, Space::Own)]
    fn the_network_follows_both_families(#[case] ip4: ParamValue, #[case] ip6: ParamValue, #[case] net: Space) {
        assert_eq!(wanted(&params(&[("ip4", ip4), ("ip6", ip6)])).unwrap().net, net);
    }

    #[test]
    fn an_engine_hands_its_namespaces_over() {
        let wanted = wanted(&params(&[("linux.netns", text("/run/netns/a")), ("ip4", INHERIT)])).unwrap();
        assert_eq!(wanted.net, Space::Joined("/run/netns/a".into()));
    }

    #[test]
    fn a_host_name_means_a_host_of_its_own() {
        let list = [("host", INHERIT), ("host.hostname", text("a"))];
        assert_eq!(wanted(&params(&list)).unwrap().uts, Space::Own);
        assert_eq!(wanted(&params(&list[..1])).unwrap().uts, Space::Shared);
    }

    #[rstest]
    #[case("web", None, Ok((None, Some("web"))))]
    #[case("12abc", None, Ok((None, Some("12abc"))))]
    #[case("", Some(5), Ok((Some(5), None)))]
    #[case("77", None, Ok((Some(77), Some("77"))))]
    #[case("77", Some(77), Ok((Some(77), Some("77"))))]
    #[case("77", Some(78), Err("name cannot be numeric (unless it is the jid)"))]
    #[case("0", None, Err("name cannot be numeric (unless it is the jid)"))]
    #[case("007", None, Err("name cannot be numeric (unless it is the jid)"))]
    #[case("+9", None, Err("name cannot be numeric (unless it is the jid)"))]
    #[case("99999999999", None, Err("name cannot be numeric (unless it is the jid)"))]
    #[case("-5", None, Err("negative jid"))]
    #[case("a", Some(-1), Err("negative jid"))]
    fn names_and_jids(
        #[case] name: &str,
        #[case] jid: Option<i32>,
        #[case] expected: Result<(Option<i32>, Option<&str>), &str>,
    ) {
        let mut params = params(&[("name", text(name))]);
        if let Some(jid) = jid {
            params.set("jid", ParamValue::Int(jid));
        }
        let found = wanted(&params).map(|wanted| (wanted.jid, wanted.name)).map_err(|refusal| refusal.message);
        let found = found.as_ref().map(|(jid, name)| (*jid, name.as_deref())).map_err(String::as_str);
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case(&[("securelevel", ParamValue::Int(1))], Errno::EINVAL, "unknown parameter: securelevel")]
    #[case(&[("allow.foo", ParamValue::Flag(true))], Errno::EINVAL, "unknown parameter: allow.foo")]
    #[case(&[("allow.chflags", ParamValue::Flag(true))], Errno::EOPNOTSUPP, "allow.chflags")]
    #[case(&[("persist", ParamValue::Flag(false))], Errno::EINVAL, "new jail must persist or attach")]
    #[case(&[("vnet", NEW), ("ip4", DISABLE)], Errno::EINVAL, "vnet jails cannot have IP address restrictions")]
    #[case(&[("vnet", DISABLE)], Errno::EINVAL, "")]
    #[case(&[("enforce_statfs", ParamValue::Int(3))], Errno::EINVAL, "")]
    #[case(&[("devfs_ruleset", ParamValue::Int(65536))], Errno::EINVAL, "")]
    #[case(&[("enforce_statfs", text("1"))], Errno::EINVAL, "")]
    #[case(&[("path", text(""))], Errno::ENOENT, "")]
    #[case(&[("path", ParamValue::Root)], Errno::EINVAL, "")]
    #[case(&[("ip4.addr", ParamValue::Ip4(vec![Ipv4Addr::UNSPECIFIED]))], Errno::EINVAL, "")]
    #[case(&[("ip4.addr", ParamValue::Ip4(vec![Ipv4Addr::LOCALHOST; 2]))], Errno::EINVAL, "")]
    fn refuses(#[case] list: &[(&str, ParamValue)], #[case] errno: Errno, #[case] words: &str) {
        let refusal = wanted(&params(list)).unwrap_err();
        assert_eq!(refusal.errno, errno);
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }

    #[test]
    fn a_name_of_256_bytes_is_too_long() {
        assert!(wanted(&params(&[("name", text(&"n".repeat(255)))])).is_ok());
        let refusal = wanted(&params(&[("name", text(&"n".repeat(256)))])).unwrap_err();
        assert_eq!(refusal.errno, Errno::ENAMETOOLONG);
    }

    #[test]
    fn the_parent_is_before_the_last_dot() {
        assert_eq!(wanted(&params(&[("name", text("a.b.c"))])).unwrap().parent(), Some("a.b"));
        assert_eq!(wanted(&params(&[("name", text("a"))])).unwrap().parent(), None);
    }
}
