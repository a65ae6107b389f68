//! The unprivileged user that a service runs as when we are root.

use anyhow::{Context, bail};

/// A user and its group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unprivileged {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Whom to become: `None` when we are not root, else the first of `names` that exists.
pub(super) fn drop_root_to(names: &[&str]) -> anyhow::Result<Option<Unprivileged>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    match names.iter().find_map(|name| find(&passwd, name)) {
        Some(user) => Ok(Some(user)),
        None => bail!(
            "PostgreSQL refuses to run as root; add one of these users: {}",
            names.join(", ")
        ),
    }
}

fn find(passwd: &str, name: &str) -> Option<Unprivileged> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Unprivileged { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:101:104:a:/var:/bin/sh\n";
        assert_eq!(
            find(passwd, "postgres"),
            Some(Unprivileged { uid: 101, gid: 104 })
        );
        assert_eq!(find(passwd, "nobody"), None);
    }
}
