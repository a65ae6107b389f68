//! The namespace itself: a network in which every address leads to us and none leads out.
//!
//! The program starts itself again under `unshare`, with a network, mounts and processes of its own. Nothing there has a
//! name, so nothing has to be deleted: it all ends with the first process in it, and that one ends when its standard
//! input does, which is when we are gone, however that came about.
//!
//! Inside, one route makes the whole of IPv4 and IPv6 local. A listener on a port hears whoever dials that port at *any*
//! address, `169.254.169.254` as well as `8.8.8.8`, and can tell them apart by the address that was dialled. The server
//! cannot tell it from the real thing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{capture, run};

/// Where names are looked up inside.
pub(crate) const NAME_SERVER: &str = "127.0.0.1";

/// The command that runs `program` inside a new namespace. Who is not root is root in there.
pub(crate) fn command(program: &Path) -> Result<Command> {
    crate::provide::namespace::provide()?;
    let mut command = Command::new("unshare");
    if !is_root()? {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ])
        .arg("--")
        .arg(program);
    Ok(command)
}

/// Makes every address local and lets names be looked up at [`NAME_SERVER`] only. To be called inside, once.
pub(crate) fn furnish(folder: &Path) -> Result<()> {
    ensure!(
        interfaces()? == ["lo"] || routes()? == 0,
        "this network has a way out; run `cargo xtask namespace`, which makes one that has none"
    );
    for words in [
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ] {
        capture(Command::new("ip").args(words.split(' ')))?;
    }
    ensure!(routes()? == 0, "the namespace has a route that leads out");
    // A resolver outside can be reached by files and sockets although no packet leaves.
    for (file, text) in [
        ("/etc/resolv.conf", format!("nameserver {NAME_SERVER}\n")),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
        ("/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
    ] {
        let own = folder.join(file.replace('/', "_"));
        std::fs::write(&own, text)?;
        if Path::new(file).exists() {
            capture(Command::new("mount").arg("--bind").arg(&own).arg(file))?;
        } else {
            ensure!(file == "/etc/nsswitch.conf", "this system has no {file}");
        }
    }
    for socket_folder in ["/run/nscd", "/run/systemd/resolve"] {
        if Path::new(socket_folder).is_dir() {
            run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", socket_folder]))?;
        }
    }
    Ok(())
}

/// Interfaces of the network we are in.
fn interfaces() -> Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/net/dev")?;
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

/// Routes of IPv4 that lead anywhere but to this computer.
fn routes() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/net/route")?;
    let leads_out = |line: &&str| !line.starts_with("lo\t");
    Ok(text.lines().skip(1).filter(leads_out).count())
}

/// How many TCP connections were begun in this network since it exists, by anybody, to any address and port.
///
/// It is the kernel's own count (`ActiveOpens`, RFC 4022), so nothing that is dialled can be missed for want of a listener.
pub(crate) fn tcp_opens() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/snmp").context("cannot read /proc/net/snmp")?;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "ActiveOpens")
        .and_then(|(_, value)| value.parse().ok())
        .context("/proc/net/snmp counts no ActiveOpens")
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
