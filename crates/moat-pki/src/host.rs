//! The names and addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::San;
use crate::profile::SANS_MAX;

/// By what names clients may reach this machine: its host name, `localhost` and the address of
/// every interface, sorted, each once, at most [`SANS_MAX`].
///
/// Link-local IPv6 addresses are left out: they mean nothing without a zone, and a certificate has
/// no place for one. What can't be read is left out too; `localhost` and the loopback addresses
/// are always there.
#[must_use]
pub fn host_names() -> Vec<San> {
    let node = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    collect(&node, interfaces.iter().map(if_addrs::Interface::ip))
}

fn collect(node: &str, addresses: impl Iterator<Item = IpAddr>) -> Vec<San> {
    // What everybody needs comes first, so that a bound never cuts it off.
    let mut names = vec![
        San::Dns("localhost".into()),
        San::Ip(Ipv4Addr::LOCALHOST.into()),
        San::Ip(Ipv6Addr::LOCALHOST.into()),
    ];
    names.extend(node.parse());
    let mut reachable: Vec<_> = addresses.filter(is_reachable).map(San::Ip).collect();
    reachable.sort();
    names.extend(reachable);
    let mut kept = Vec::new();
    for name in names {
        if kept.len() < SANS_MAX && !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept.sort();
    kept
}

fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn this_machine_has_loopback_names() {
        let names = host_names();
        for wanted in ["localhost", "127.0.0.1", "::1"] {
            assert!(
                names.contains(&wanted.parse().unwrap()),
                "{wanted} in {names:?}"
            );
        }
        assert!(names.is_sorted());
    }

    #[test]
    fn link_local_and_repeated_addresses_are_left_out() {
        let names = collect(
            "Host.Lab",
            [
                ip("10.0.0.5"),
                ip("fe80::1"),
                ip("10.0.0.5"),
                ip("127.0.0.1"),
            ]
            .into_iter(),
        );
        let texts: Vec<_> = names.iter().map(San::to_string).collect();
        assert_eq!(
            texts,
            ["host.lab", "localhost", "10.0.0.5", "127.0.0.1", "::1"]
        );
    }

    #[test]
    fn a_node_name_that_is_no_dns_name_is_left_out() {
        assert_eq!(collect("not a name", [].into_iter()).len(), 3);
        assert_eq!(collect("", [].into_iter()).len(), 3);
    }

    #[test]
    fn more_addresses_than_a_certificate_holds_are_cut() {
        let many = (0..200u8).map(|n| ip(&format!("10.0.0.{n}")));
        let names = collect("host", many);
        assert_eq!(names.len(), SANS_MAX);
        assert!(names.contains(&San::Dns("host".into())));
    }
}
