//! Whether an IP address is one of this host: rtnetlink(7).

use std::{io, net::IpAddr};

use super::netlink::Netlink;

const GET_ROUTE: u16 = 26; // RTM_GETROUTE
const INET: u8 = 2;
const INET6: u8 = 10;
const DESTINATION: u16 = 1; // RTA_DST
/// RTN_LOCAL of `linux/rtnetlink.h`.
const LOCAL: u8 = 2;
/// The place of the type in `struct rtmsg`.
const TYPE_AT: usize = 7;

/// Whether packets to this address stay on this host, by the kernel's routes.
pub(crate) fn is_local_address(ip: IpAddr) -> io::Result<bool> {
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (INET6, ip.octets().to_vec()),
    };
    let bits = u8::try_from(octets.len() * 8).map_err(io::Error::other)?;
    // `struct rtmsg` and one attribute.
    let mut request = vec![family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    request.extend(u16::try_from(4 + octets.len()).map_err(io::Error::other)?.to_ne_bytes());
    request.extend(DESTINATION.to_ne_bytes());
    request.extend(octets);
    match Netlink::open(None)?.ask(GET_ROUTE, &request) {
        Ok(route) => Ok(route.get(TYPE_AT) == Some(&LOCAL)),
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_host_are_local() {
        for (ip, expected) in
            [("127.0.0.1", true), ("127.8.9.1", true), ("::1", true), ("192.0.2.1", false)]
        {
            assert_eq!(is_local_address(ip.parse().unwrap()).unwrap(), expected, "{ip}");
        }
    }
}
