//! A second network for clients, joined to the proxy's by a pair of virtual Ethernet devices.
//!
//! Loopback has packets of 64 KiB, for which TCP agrees on a segment size that no client has.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

use super::namespace::CLIENT_PORTS;
use crate::{
    command::{command, run},
    process::Process,
};

/// The address of the proxy's end.
pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const HERE_WITH_PREFIX: &str = "10.0.0.1/24";
const THERE_WITH_PREFIX: &str = "10.0.0.2/24";

/// The clients' network, which ends when this is dropped.
pub(super) struct Cable {
    /// It does nothing but be in that network.
    holder: Process,
}

impl Cable {
    /// Makes the clients' network and plugs both ends. Frames have 1,500 bytes at most; as on a
    /// physical card, TCP hands larger pieces to the device, which splits and merges them.
    pub(super) fn plug(directory: &Path) -> Result<Self> {
        let mut hold = command("unshare");
        hold.args(["--net", "sleep", "infinity"]);
        let mut holder = Process::start(&hold, &directory.join("clients.log"))?;
        let own = fs::read_link("/proc/self/ns/net")?;
        let id = holder.id();
        holder.wait_until("the clients' network is made", |_| {
            fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|network| network != own)
        })?;
        let cable = Self { holder };
        let ends = format!("link add cable type veth peer name cable netns {id}");
        run(command("ip").args(ends.split(' ')))?;
        for (address, end) in [(HERE_WITH_PREFIX, None), (THERE_WITH_PREFIX, Some(&cable))] {
            for arguments in [
                format!("address add {address} dev cable"),
                "link set cable mtu 1500 up".to_owned(),
                "link set lo up".to_owned(),
            ] {
                let mut ip = command("ip");
                ip.args(arguments.split(' '));
                match end {
                    None => run(&mut ip)?,
                    Some(cable) => run(&mut cable.there(&ip)?)?,
                }
            }
        }
        let mut ports = command("sh");
        ports.args(["-c", &format!("echo {CLIENT_PORTS} >/proc/sys/net/ipv4/ip_local_port_range")]);
        run(&mut cable.there(&ports)?)?;
        Ok(cable)
    }

    /// The command, run in the clients' network.
    pub(super) fn there(&self, wanted: &Command) -> Result<Command> {
        let mut there = command("nsenter");
        there.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--");
        there.arg(wanted.get_program().to_str().context("a program's name")?);
        there.args(wanted.get_args());
        Ok(there)
    }
}
