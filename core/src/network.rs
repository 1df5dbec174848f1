//! Networks of addresses, and the machine rooms they stand for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network of addresses: `10.1.0.0/16`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The length of its prefix in bits: the longer, the narrower.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it holds the address. An IPv4 address mapped into IPv6 counts as IPv4; otherwise an IPv4 network holds no IPv6 address.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let bits = u32::from(network) ^ u32::from(address);
                bits.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let bits = u128::from(network) ^ u128::from(address);
                bits.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network such as \"10.1.0.0/16\"");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().ok().filter(|bits| *bits <= longest).ok_or_else(wrong)?,
        };
        Ok(Self { address, prefix })
    }
}

/// The machine room of an address: that of the narrowest network of a room table that holds it.
pub fn room_of(rooms: &[(Network, String)], address: IpAddr) -> Option<&str> {
    let holding = rooms.iter().filter(|(network, _)| network.contains(address));
    holding.max_by_key(|(network, _)| network.prefix()).map(|(_, room)| room.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_exactly_its_addresses() {
        for (network, address, holds) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.0.0/16", "::ffff:10.1.0.9", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), holds, "{network} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "host", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_room_is_that_of_the_narrowest_network() {
        let rooms = [("10.0.0.0/8", "wide"), ("10.1.0.0/16", "narrow")]
            .map(|(net, room)| (net.parse().unwrap(), room.into()));
        for (address, room) in [("10.1.2.3", Some("narrow")), ("10.2.0.1", Some("wide")), ("192.0.2.1", None)]
        {
            assert_eq!(room_of(&rooms, address.parse().unwrap()), room, "{address}");
        }
    }
}
