//! Addresses that are not the public internet (IANA special-purpose registries, RFC 6890): the one classifier of this
//! house.
//!
//! Whoever lets a stranger choose where a request goes asks here first, about the very address that is dialled. The
//! answer is of the address alone, never of a name. An address that carries an IPv4 address inside is special-use
//! whatever it carries: nothing that is looked up in the public DNS for a web server needs one, and what a translator on
//! the way makes of it is not ours to know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not an ordinary one of the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpecialUse {
    /// Where clouds keep the credentials of the machine, or speak for its host. Some of them are ordinary addresses.
    CloudMetadata,
    /// This host, this network, or no address at all (RFC 791 §3.2, RFC 4291 §2.5.2).
    Unspecified,
    /// This computer (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
    Loopback,
    /// A private network: RFC 1918, unique local (RFC 4193), site-local (RFC 3879).
    Private,
    /// Between a provider and its subscribers (carrier-grade NAT, RFC 6598).
    Shared,
    /// This link (RFC 3927, RFC 4291 §2.5.6).
    LinkLocal,
    /// IETF protocol assignments (RFC 6890 §2.1), anycast services among them.
    ProtocolAssignment,
    /// For documentation (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// For benchmarks (RFC 2544, RFC 5180).
    Benchmarking,
    /// For many at once (RFC 5771, RFC 4291 §2.7).
    Multicast,
    /// Thrown away on the way (RFC 6666), or a dummy (RFC 9780).
    Discard,
    /// A service of the network's own: AS112 (RFC 7534, RFC 7535), AMT relays (RFC 7450), 6to4 relays (RFC 7526).
    Infrastructure,
    /// An identifier that looks like an address: ORCHID (RFC 4843, RFC 7343), drone entity tags (RFC 9374), segment
    /// routing (RFC 9602).
    Identifier,
    /// It carries an IPv4 address: mapped, compatible or translated (RFC 4291 §2.5.5, RFC 2765, RFC 6052, RFC 8215),
    /// 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).
    CarriesIpv4,
    /// Not given out, or kept for the future (RFC 1112 §4), the broadcast address (RFC 919) among it. Of IPv6 only
    /// 2000::/3 is given out.
    Reserved,
}

/// Whether an address is set aside for a special use; `None` for an ordinary address of the public internet.
///
/// ```
/// use mcp_authflow_types::special_use::{SpecialUse, special_use};
///
/// assert_eq!(special_use("127.0.0.1".parse()?), Some(SpecialUse::Loopback));
/// assert_eq!(special_use("::ffff:8.8.8.8".parse()?), Some(SpecialUse::CarriesIpv4));
/// assert_eq!(special_use("168.63.129.16".parse()?), Some(SpecialUse::CloudMetadata));
/// assert_eq!(special_use("93.184.215.14".parse()?), None);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
///
/// # Security
/// Ask about the address that is dialled, after the name is resolved: a name that was harmless a moment ago can have
/// another address now.
pub fn special_use(address: IpAddr) -> Option<SpecialUse> {
    match address {
        IpAddr::V4(address) => find(&V4, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) if is_isatap(address) => Some(SpecialUse::CarriesIpv4),
        IpAddr::V6(address) => find(&V6, address.to_bits(), 128),
    }
}

/// The IPv4 address that an IPv6 address carries, in the forms that are [`SpecialUse::CarriesIpv4`].
///
/// Of Teredo it is the client's, of 64:ff9b:1::/48 the one a /96 prefix in it would have, which is how it is used.
///
/// ```
/// use mcp_authflow_types::special_use::embedded_ipv4;
///
/// assert_eq!(embedded_ipv4("64:ff9b::a00:5".parse()?), Some("10.0.0.5".parse()?));
/// assert_eq!(embedded_ipv4("2606:4700::1".parse()?), None);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if special_use(address.into()) != Some(SpecialUse::CarriesIpv4) {
        return None;
    }
    let [first, second, third, .., seventh, eighth] = address.segments();
    let (high, low) = match (first, second) {
        (0x2002, _) if !is_isatap(address) => (second, third),
        (0x2001, 0) if !is_isatap(address) => (!seventh, !eighth),
        _ => (seventh, eighth),
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// RFC 5214 §6.1: the interface identifier is `0000:5efe` or `0200:5efe` and the IPv4 address, under any prefix.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [.., e, f, _, _] = address.segments();
    e & !0x0200 == 0 && f == 0x5efe
}

/// A block: its first address, the length of its prefix, its use.
type Block = (u128, u32, SpecialUse);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32, what: SpecialUse) -> Block {
    (Ipv4Addr::new(a, b, c, d).to_bits() as u128, prefix, what)
}

const fn v6(first: [u16; 8], prefix: u32, what: SpecialUse) -> Block {
    let mut bits = 0;
    let mut at = 0;
    while at < first.len() {
        bits = bits << 16 | first[at] as u128;
        at += 1;
    }
    (bits, prefix, what)
}

/// The first block that holds the address; the tables have the small ones before the large ones that hold them.
fn find(table: &[Block], address: u128, bits: u32) -> Option<SpecialUse> {
    table
        .iter()
        // A shift by all 128 bits is `None` on both sides: a prefix of no length holds everything.
        .find(|(first, prefix, _)| address.checked_shr(bits - prefix) == first.checked_shr(bits - prefix))
        .map(|(_, _, what)| *what)
}

/// IANA IPv4 Special-Purpose Address Registry, the multicast space, and where clouds keep credentials.
#[rustfmt::skip]
const V4: [Block; 26] = {
    use SpecialUse::{
        Benchmarking, CloudMetadata, Documentation, Infrastructure, LinkLocal, Loopback, Multicast, Private,
        ProtocolAssignment, Reserved, Shared, Unspecified,
    };
    [
        // AWS, Azure, Google and most others; AWS ECS; AWS EKS.
        v4(169, 254, 169, 254, 32, CloudMetadata),
        v4(169, 254, 170, 2, 32, CloudMetadata),
        v4(169, 254, 170, 23, 32, CloudMetadata),
        v4(169, 254, 42, 42, 32, CloudMetadata),   // Scaleway
        v4(169, 254, 0, 23, 32, CloudMetadata),    // Tencent
        v4(100, 100, 100, 200, 32, CloudMetadata), // Alibaba
        v4(192, 0, 0, 192, 32, CloudMetadata),     // Oracle
        v4(168, 63, 129, 16, 32, CloudMetadata),   // Azure's host agent, a public address by the registry
        v4(0, 0, 0, 0, 8, Unspecified),
        v4(10, 0, 0, 0, 8, Private),
        v4(100, 64, 0, 0, 10, Shared),
        v4(127, 0, 0, 0, 8, Loopback),
        v4(169, 254, 0, 0, 16, LinkLocal),
        v4(172, 16, 0, 0, 12, Private),
        v4(192, 0, 0, 0, 24, ProtocolAssignment),
        v4(192, 0, 2, 0, 24, Documentation),
        v4(192, 31, 196, 0, 24, Infrastructure),
        v4(192, 52, 193, 0, 24, Infrastructure),
        v4(192, 88, 99, 0, 24, Infrastructure),
        v4(192, 168, 0, 0, 16, Private),
        v4(192, 175, 48, 0, 24, Infrastructure),
        v4(198, 18, 0, 0, 15, Benchmarking),
        v4(198, 51, 100, 0, 24, Documentation),
        v4(203, 0, 113, 0, 24, Documentation),
        v4(224, 0, 0, 0, 4, Multicast),
        // 240.0.0.0/4 with the broadcast address at its end.
        v4(240, 0, 0, 0, 4, Reserved),
    ]
};

/// IANA IPv6 Special-Purpose Address Registry, the multicast space, what is deprecated, and all that is not 2000::/3.
#[rustfmt::skip]
const V6: [Block; 34] = {
    use SpecialUse::{
        Benchmarking, CarriesIpv4, CloudMetadata, Discard, Documentation, Identifier, Infrastructure, LinkLocal,
        Loopback, Multicast, Private, ProtocolAssignment, Reserved, Unspecified,
    };
    [
        v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata),  // AWS
        v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, CloudMetadata),   // AWS EKS
        v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata),   // Google
        v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, CloudMetadata),    // Scaleway
        v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, CloudMetadata), // OpenStack
        v6([0; 8], 128, Unspecified),
        v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback),
        v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, CarriesIpv4),  // mapped
        v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, CarriesIpv4),  // translated, RFC 2765
        v6([0; 8], 96, CarriesIpv4),                         // compatible, deprecated
        v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, CarriesIpv4),
        v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, CarriesIpv4),
        v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Discard),
        v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Discard),
        v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, CarriesIpv4),  // Teredo
        v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Benchmarking),
        v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Infrastructure),
        v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, Infrastructure),
        v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, Identifier),
        v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Identifier),
        v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Identifier),
        v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, ProtocolAssignment),
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Documentation),
        v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, CarriesIpv4),  // 6to4
        v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Infrastructure),
        v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Documentation),
        v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Identifier),
        v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Private),
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LinkLocal),
        v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Private),      // site-local, deprecated
        v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Multicast),
        // What IANA has not given out as global unicast (RFC 4291 §2.4): all but 001 in the first three bits.
        v6([0x0000, 0, 0, 0, 0, 0, 0, 0], 3, Reserved),
        v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, Reserved),
        v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, Reserved),
    ]
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::{
        SpecialUse::{
            Benchmarking, CarriesIpv4, CloudMetadata, Discard, Documentation, Identifier, Infrastructure,
            LinkLocal, Loopback, Multicast, Private, ProtocolAssignment, Reserved, Shared, Unspecified,
        },
        *,
    };

    fn of(address: &str) -> Option<SpecialUse> {
        special_use(address.parse().unwrap_or_else(|_| panic!("{address}")))
    }

    /// The registry as IANA prints it, every row, what is inside another row included.
    #[rustfmt::skip]
    const REGISTRY: &[(&str, SpecialUse)] = &[
        ("0.0.0.0/8", Unspecified), ("0.0.0.0/32", Unspecified), ("10.0.0.0/8", Private), ("100.64.0.0/10", Shared),
        ("127.0.0.0/8", Loopback), ("169.254.0.0/16", LinkLocal), ("172.16.0.0/12", Private),
        ("192.0.0.0/24", ProtocolAssignment), ("192.0.0.0/29", ProtocolAssignment),
        ("192.0.0.8/32", ProtocolAssignment), ("192.0.0.9/32", ProtocolAssignment),
        ("192.0.0.10/32", ProtocolAssignment), ("192.0.0.170/32", ProtocolAssignment),
        ("192.0.0.171/32", ProtocolAssignment), ("192.0.2.0/24", Documentation), ("192.31.196.0/24", Infrastructure),
        ("192.52.193.0/24", Infrastructure), ("192.88.99.0/24", Infrastructure), ("192.168.0.0/16", Private),
        ("192.175.48.0/24", Infrastructure), ("198.18.0.0/15", Benchmarking), ("198.51.100.0/24", Documentation),
        ("203.0.113.0/24", Documentation), ("224.0.0.0/4", Multicast), ("240.0.0.0/4", Reserved),
        ("255.255.255.255/32", Reserved),
        ("::1/128", Loopback), ("::/128", Unspecified), ("::ffff:0:0/96", CarriesIpv4), ("64:ff9b::/96", CarriesIpv4),
        ("64:ff9b:1::/48", CarriesIpv4), ("100::/64", Discard), ("100:0:0:1::/64", Discard),
        ("2001::/32", CarriesIpv4), ("2001:1::1/128", ProtocolAssignment), ("2001:1::2/128", ProtocolAssignment),
        ("2001:1::3/128", ProtocolAssignment), ("2001:2::/48", Benchmarking), ("2001:3::/32", Infrastructure),
        ("2001:4:112::/48", Infrastructure), ("2001:10::/28", Identifier), ("2001:20::/28", Identifier),
        ("2001:30::/28", Identifier), ("2001:100::/24", ProtocolAssignment), ("2001:db8::/32", Documentation),
        ("2002::/16", CarriesIpv4), ("2620:4f:8000::/48", Infrastructure), ("3fff::/20", Documentation),
        ("5f00::/16", Identifier), ("fc00::/7", Private), ("fe80::/10", LinkLocal), ("fec0::/10", Private),
        ("ff00::/8", Multicast), ("4000::/2", Reserved), ("8000::/2", Reserved), ("200::/7", Reserved),
    ];

    /// First and last address of a block, as addresses.
    fn ends(block: &str) -> [IpAddr; 2] {
        let (first, prefix) = block.split_once('/').unwrap();
        let prefix: u32 = prefix.parse().unwrap();
        match first.parse().unwrap() {
            IpAddr::V4(first) => {
                let rest = u32::MAX.checked_shr(prefix).unwrap_or(0);
                assert_eq!(first.to_bits() & rest, 0, "{block}");
                [first.into(), Ipv4Addr::from_bits(first.to_bits() | rest).into()]
            }
            IpAddr::V6(first) => {
                let rest = u128::MAX.checked_shr(prefix).unwrap_or(0);
                assert_eq!(first.to_bits() & rest, 0, "{block}");
                [first.into(), Ipv6Addr::from_bits(first.to_bits() | rest).into()]
            }
        }
    }

    /// RFC 6890, IANA special-purpose address registries
    #[test]
    fn every_block_of_the_registries_is_special_from_end_to_end() {
        for (block, what) in REGISTRY {
            for address in ends(block) {
                assert_eq!(special_use(address), Some(*what), "{address} of {block}");
            }
        }
    }

    #[rustfmt::skip]
    #[test]
    fn the_neighbours_of_the_blocks_are_ordinary() {
        for address in [
            "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
            "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0",
            "192.0.1.255", "192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0",
            "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0",
            "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0",
            "223.255.255.255", "168.63.129.15", "168.63.129.17", "8.8.8.8", "93.184.215.14",
            "2000::", "2001:200::", "2001:4860:4860::8888", "2001:db7:ffff::", "2001:db9::", "2003::",
            "2606:4700::6810:84e5", "2620:4f:7fff::1", "2620:4f:8001::", "3ffe:ffff::", "3fff:1000::",
        ] {
            assert_eq!(of(address), None, "{address}");
        }
    }

    #[rustfmt::skip]
    #[test]
    fn where_a_cloud_keeps_credentials_is_told_apart() {
        for address in [
            "169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "168.63.129.16",
            "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe",
            "169.254.42.42", "fd00:42::42", "169.254.0.23",
        ] {
            assert_eq!(of(address), Some(CloudMetadata), "{address}");
        }
    }

    #[rustfmt::skip]
    #[test]
    fn the_ways_of_writing_169_254_169_254_all_carry_it() {
        let inside = Some(Ipv4Addr::new(169, 254, 169, 254));
        for address in [
            "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::169.254.169.254", "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:808:808:0:0:5601:5601",
            "2606:4700::5efe:169.254.169.254", "2606:4700::200:5efe:a9fe:a9fe", "2002:808:808::5efe:a9fe:a9fe",
        ] {
            assert_eq!(of(address), Some(CarriesIpv4), "{address}");
            assert_eq!(embedded_ipv4(address.parse().unwrap()), inside, "{address}");
        }
    }

    /// What the standard library's predicates say, as far as they are stable: a second opinion.
    fn std_says_special(address: Ipv4Addr) -> bool {
        address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_documentation()
            || address.is_unspecified()
            || address.octets()[0] == 0
            || address.octets()[0] >= 240
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn no_ipv4_address_is_ordinary_when_the_standard_library_says_otherwise(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            if std_says_special(address) {
                prop_assert!(special_use(address.into()).is_some());
            }
        }

        #[test]
        fn an_address_inside_a_block_is_special(at in 0..REGISTRY.len(), noise: u128) {
            let [first, last] = ends(REGISTRY[at].0);
            let address = match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    let rest = first.to_bits() ^ last.to_bits();
                    #[expect(clippy::cast_possible_truncation, reason = "noise is noise")]
                    IpAddr::from(Ipv4Addr::from_bits(first.to_bits() | (noise as u32 & rest)))
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    let rest = first.to_bits() ^ last.to_bits();
                    IpAddr::from(Ipv6Addr::from_bits(first.to_bits() | (noise & rest)))
                }
                _ => unreachable!("a block has one family"),
            };
            prop_assert!(special_use(address).is_some(), "{}", address);
        }

        #[test]
        fn only_global_unicast_is_ordinary(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            if special_use(address.into()).is_none() {
                prop_assert_eq!(bits >> 125, 1, "{}", address);
            }
        }

        #[test]
        fn an_ipv4_address_is_special_in_every_embedded_spelling(bits: u32, prefix: u64) {
            let inside = Ipv4Addr::from_bits(bits);
            let low = u128::from(bits);
            let global = u128::from(prefix >> 3 | 1 << 61) << 64;
            let addresses = [
                low | 0xffff << 32,                                       // mapped
                low | 0xffff << 48,                                       // translated
                low | 0x64 << 112 | 0xff9b << 96,                         // NAT64
                low | 0x64 << 112 | 0xff9b << 96 | 1 << 80,               // NAT64, local
                low << 80 | 0x2002 << 112 | u128::from(prefix >> 16 << 16), // 6to4
                u128::from(!bits) | 0x2001 << 112,                        // Teredo
                low | global | 0x5efe << 32,                              // ISATAP
                low | global | 0x200 << 48 | 0x5efe << 32,
            ];
            for address in addresses.map(Ipv6Addr::from_bits) {
                prop_assert_eq!(special_use(address.into()), Some(CarriesIpv4), "{}", address);
                prop_assert_eq!(embedded_ipv4(address), Some(inside), "{}", address);
            }
            if bits > 1 {
                prop_assert_eq!(special_use(Ipv6Addr::from_bits(low).into()), Some(CarriesIpv4));
            }
        }
    }

    /// A sweep of all of IPv4 in steps of a prime, so that every /16 is met.
    #[test]
    fn a_sweep_of_ipv4_agrees_with_the_registry() {
        let blocks: Vec<(u32, u32)> = REGISTRY
            .iter()
            .filter_map(|(block, _)| match ends(block) {
                [IpAddr::V4(first), IpAddr::V4(last)] => Some((first.to_bits(), last.to_bits())),
                _ => None,
            })
            .collect();
        let azure = Ipv4Addr::new(168, 63, 129, 16).to_bits();
        for bits in (0..=u32::MAX).step_by(4_093) {
            let listed = bits == azure
                || blocks
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&bits));
            let address = Ipv4Addr::from_bits(bits);
            assert_eq!(special_use(address.into()).is_some(), listed, "{address}");
        }
    }
}
