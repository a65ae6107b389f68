//! Which hosts and which addresses may be dialled.

use std::net::IpAddr;

use mcp_authflow_types::special_use::{SpecialUse, embedded_ipv4, special_use};

use crate::{
    error::Refused,
    network::Network,
    target::{Host, Scheme, Target},
};

/// The operator's word on where requests may go. The default: anywhere on the public internet, by https.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Whether this computer may be asked, when it is spelled as such.
    pub(crate) allows_loopback: bool,
    /// Special-use networks that may be dialled all the same.
    pub(crate) networks: Vec<Network>,
    /// The only hosts that may be asked, in lower case.
    pub(crate) only_hosts: Option<Vec<String>>,
    /// Where this server itself is to be found.
    pub(crate) own_origins: Vec<(Host, u16)>,
}

impl Policy {
    /// Whether the URL may be asked, before anything is looked up.
    pub(crate) fn admit(&self, target: &Target) -> Result<(), Refused> {
        if target.scheme == Scheme::Http && !(self.allows_loopback && target.host.is_loopback()) {
            return Err(Refused::NotHttps);
        }
        if let Some(hosts) = &self.only_hosts {
            let host = target.host.to_string();
            // The whole name: neither a sub-domain of an allowed host nor a name that ends like one.
            if !hosts.contains(&host) {
                return Err(Refused::HostNotAllowed);
            }
        }
        let is_own = |(host, port): &(Host, u16)| *host == target.host && *port == target.port;
        if self.own_origins.iter().any(is_own) {
            return Err(Refused::OwnOrigin);
        }
        Ok(())
    }

    /// Whether every address may be dialled. One bad one spoils the name: a name with a public and a private address
    /// is an attack or an accident, and which address a connection would get is a matter of chance.
    pub(crate) fn vet(&self, target: &Target, addresses: &[IpAddr]) -> Result<(), Refused> {
        addresses
            .iter()
            .try_for_each(|address| self.vet_one(target, *address))
    }

    fn vet_one(&self, target: &Target, address: IpAddr) -> Result<(), Refused> {
        let special = special_use(address);
        // Only for hosts that are spelled as this computer: a stranger's name that leads here is refused.
        if self.allows_loopback && target.host.is_loopback() && special == Some(SpecialUse::Loopback) {
            return Ok(());
        }
        match (target.scheme, special) {
            (Scheme::Https, None) => Ok(()),
            (Scheme::Https, Some(what)) if self.is_allowed(address, what) => Ok(()),
            (_, Some(what)) => Err(Refused::SpecialUse(address, what)),
            // `localhost` that is elsewhere.
            (Scheme::Http, None) => Err(Refused::NotHttps),
        }
    }

    /// Whether a special-use address is in a network that the operator opened.
    fn is_allowed(&self, address: IpAddr, what: SpecialUse) -> bool {
        let mut networks = self.networks.iter().filter(|network| network.contains(address));
        match what {
            // Nobody opens a private network in order to open the credentials of the machine.
            SpecialUse::CloudMetadata => networks.any(Network::is_single_address),
            // What is inside has to pass as well: 64:ff9b::/96 leads to all of IPv4.
            SpecialUse::CarriesIpv4 => {
                let IpAddr::V6(outer) = address else { return false };
                let inner_passes = embedded_ipv4(outer)
                    .map(IpAddr::from)
                    .is_some_and(|inner| special_use(inner).is_none_or(|what| self.is_allowed(inner, what)));
                networks.next().is_some() && inner_passes
            }
            _ => networks.next().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    fn vet(policy: &Policy, url: &str, addresses: &[&str]) -> Result<(), Refused> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        policy.vet(&Target::parse(url).unwrap(), &addresses)
    }

    fn admit(policy: &Policy, url: &str) -> Result<(), Refused> {
        policy.admit(&Target::parse(url).unwrap())
    }

    fn allowing(networks: &[&str]) -> Policy {
        Policy {
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..Policy::default()
        }
    }

    /// SF-07
    #[test]
    fn one_special_address_among_good_ones_spoils_the_name() {
        let policy = Policy::default();
        assert_eq!(
            vet(&policy, "https://c.test/", &["8.8.8.8", "2606:4700::1"]),
            Ok(())
        );
        for bad in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "10.0.0.5",
            "64:ff9b::808:808",
        ] {
            for addresses in [[bad, "8.8.8.8"], ["8.8.8.8", bad]] {
                let refused = vet(&policy, "https://c.test/", &addresses);
                assert!(
                    matches!(refused, Err(Refused::SpecialUse(_, _))),
                    "{bad}: {refused:?}"
                );
            }
        }
    }

    #[test]
    fn plain_http_is_for_this_computer_and_only_with_the_switch() {
        let mut policy = Policy::default();
        for url in [
            "http://c.test/",
            "http://127.0.0.1:9/",
            "http://localhost/",
            "http://[::1]/",
        ] {
            if let Ok(target) = Target::parse(url) {
                assert_eq!(policy.admit(&target), Err(Refused::NotHttps), "{url}");
            }
        }
        policy.allows_loopback = true;
        for url in ["http://127.0.0.1:9000/", "http://localhost/", "http://[::1]/"] {
            assert_eq!(admit(&policy, url), Ok(()), "{url}");
        }
        for url in [
            "http://c.test/",
            "http://127.0.0.2/",
            "http://localhost.c.test/",
            "http://10.0.0.5/",
        ] {
            assert_eq!(admit(&policy, url), Err(Refused::NotHttps), "{url}");
        }
        assert_eq!(vet(&policy, "http://localhost/", &["127.0.0.1", "::1"]), Ok(()));
        assert_eq!(vet(&policy, "https://localhost/", &["127.0.0.1"]), Ok(()));
        assert_eq!(
            vet(&policy, "http://localhost/", &["8.8.8.8"]),
            Err(Refused::NotHttps)
        );
    }

    #[test]
    fn a_strangers_name_that_leads_to_this_computer_is_refused_with_the_switch_too() {
        let policy = Policy {
            allows_loopback: true,
            ..Policy::default()
        };
        assert_eq!(
            vet(&policy, "https://rebound.test/", &["127.0.0.1"]),
            Err(Refused::SpecialUse(
                "127.0.0.1".parse().unwrap(),
                SpecialUse::Loopback
            ))
        );
        assert!(vet(&policy, "http://localhost/", &["10.0.0.5"]).is_err());
    }

    /// CM-18
    #[test]
    fn a_list_of_hosts_is_of_whole_names() {
        let policy = Policy {
            only_hosts: Some(vec!["good.test".to_owned()]),
            ..Policy::default()
        };
        assert_eq!(admit(&policy, "https://GOOD.test/x"), Ok(()));
        for bad in [
            "https://a.good.test/",
            "https://evilgood.test/",
            "https://good.test.evil.test/",
            "https://8.8.8.8/",
        ] {
            assert_eq!(admit(&policy, bad), Err(Refused::HostNotAllowed), "{bad}");
        }
    }

    #[test]
    fn an_opened_network_opens_itself_only() {
        let policy = allowing(&["10.1.0.0/16", "fd00::/8"]);
        assert_eq!(
            vet(&policy, "https://c.test/", &["10.1.2.3", "fd12::1", "8.8.8.8"]),
            Ok(())
        );
        for bad in [
            "10.2.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::a01:203",
            "127.0.0.1",
            "fd00:ec2::254",
        ] {
            assert!(vet(&policy, "https://c.test/", &[bad]).is_err(), "{bad}");
        }
        // Plain http stays closed.
        let http = Target {
            scheme: Scheme::Http,
            ..Target::parse("https://c.test/").unwrap()
        };
        assert!(policy.admit(&http).is_err());
        assert!(policy.vet(&http, &["10.1.2.3".parse().unwrap()]).is_err());
    }

    #[test]
    fn credentials_of_the_machine_are_opened_only_by_name() {
        let everything = allowing(&["0.0.0.0/0", "::/0"]);
        for metadata in [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd00:42::42",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(
                vet(&everything, "https://c.test/", &[metadata]).is_err(),
                "{metadata}"
            );
        }
        let named = allowing(&["169.254.169.254"]);
        assert_eq!(vet(&named, "https://c.test/", &["169.254.169.254"]), Ok(()));
    }

    #[test]
    fn a_translator_that_is_opened_leads_to_the_public_internet_only() {
        let policy = allowing(&["64:ff9b::/96"]);
        assert_eq!(vet(&policy, "https://c.test/", &["64:ff9b::808:808"]), Ok(()));
        assert!(vet(&policy, "https://c.test/", &["64:ff9b::a00:5"]).is_err());
        let both = allowing(&["64:ff9b::/96", "10.0.0.0/8"]);
        assert_eq!(vet(&both, "https://c.test/", &["64:ff9b::a00:5"]), Ok(()));
    }

    proptest! {
        #[test]
        fn without_an_opened_network_an_address_passes_exactly_when_it_is_ordinary(bits: u128, v4: bool) {
            #[expect(clippy::cast_possible_truncation, reason = "noise is noise")]
            let address: IpAddr = if v4 {
                std::net::Ipv4Addr::from_bits(bits as u32).into()
            } else {
                std::net::Ipv6Addr::from_bits(bits).into()
            };
            let target = Target::parse("https://c.test/").unwrap();
            let policy = Policy { allows_loopback: true, ..Policy::default() };
            prop_assert_eq!(policy.vet(&target, &[address]).is_ok(), special_use(address).is_none());
        }
    }
}
