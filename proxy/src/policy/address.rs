//! Ranges of addresses, as Go's `net.ParseCIDR` reads them.

use std::{net::IpAddr, str::FromStr};

/// A range; a single address is a range too. Host bits are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IpRange {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

/// The first 96 bits of an IPv4-mapped address (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u32 = 96;

impl IpRange {
    /// `address` must be canonical, not IPv4-mapped.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (*self, address) {
            (IpRange::V4 { network, mask }, IpAddr::V4(address)) => {
                u32::from(address) & mask == network
            }
            (IpRange::V6 { network, mask }, IpAddr::V6(address)) => {
                u128::from(address) & mask == network
            }
            _ => false,
        }
    }

    fn new(address: IpAddr, prefix: u32) -> Option<IpRange> {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix >= MAPPED_BITS => {
                IpRange::new(IpAddr::V4(mapped), prefix - MAPPED_BITS)
            }
            (IpAddr::V4(address), _) => {
                let mask = u32::MAX.checked_shl(u32::BITS.checked_sub(prefix)?).unwrap_or(0);
                Some(IpRange::V4 { network: u32::from(address) & mask, mask })
            }
            (IpAddr::V6(address), _) => {
                let mask = u128::MAX.checked_shl(u128::BITS.checked_sub(prefix)?).unwrap_or(0);
                Some(IpRange::V6 { network: u128::from(address) & mask, mask })
            }
        }
    }
}

/// The text is neither an address nor a range of addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotARange;

impl FromStr for IpRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<IpRange, NotARange> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotARange)?;
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotARange)?
            }
            Some(_) => return Err(NotARange),
            None if address.is_ipv4() => u32::BITS,
            None => u128::BITS,
        };
        IpRange::new(address, prefix).ok_or(NotARange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        range.parse::<IpRange>().unwrap().contains(address.to_canonical())
    }

    #[test]
    fn a_range_has_the_addresses_that_its_prefix_leaves_open() {
        for (range, address, expected) in [
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.5", false),
            ("192.168.1.1/24", "192.168.1.200", true),
            ("192.168.1.1/24", "192.168.2.1", false),
            ("192.168.1.1/024", "192.168.1.2", true),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
            ("2001:db8::/32", "2001:db8:1:2:3:4:5:6", true),
            ("2001:db8::/32", "2001:ffff::", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
        ] {
            assert_eq!(contains(range, address), expected, "{range} {address}");
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address_on_both_sides() {
        assert!(contains("::ffff:1.2.3.4", "1.2.3.4"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(contains("::ffff:0:0/96", "10.1.2.3"));
        assert!(contains("1.2.3.4", "::ffff:1.2.3.4"));
        assert!(!contains("::ffff:0:0/90", "10.1.2.3"));
    }

    #[test]
    fn what_is_no_address_and_no_range_is_refused() {
        for text in [
            "",
            "x",
            "1.2.3",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/+8",
            "1.2.3.4/-1",
            "1.2.3.4/8/8",
            "/8",
            "01.2.3.4",
            "::1/129",
            "fe80::1%eth0",
            " 1.2.3.4",
            "1.2.3.4/99999999999",
        ] {
            assert_eq!(text.parse::<IpRange>(), Err(NotARange), "{text}");
        }
    }
}
