// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a board is told about itself: `smgw.target/1`, beside the gateway's configuration.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::wrong;

/// The board's own part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TargetConfig {
    schema: String,
    /// Who tells the time (SNTP), asked once at start.
    pub(super) time_server: Option<SocketAddr>,
    /// Seeded defect.
    pub(super) defect: Option<String>,
    /// Network interfaces.
    #[serde(default, rename = "interface")]
    pub(super) interfaces: Vec<Interface>,
}

/// One network interface and its address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Interface {
    /// Hardware address, by which the interface is found: names depend on the order of discovery.
    pub(super) mac: String,
    /// `10.0.2.15/24`
    #[serde(deserialize_with = "text")]
    pub(super) address: Prefixed,
}

/// An IPv4 address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefixed {
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
}

impl FromStr for Prefixed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected an IPv4 address with prefix such as \"10.0.2.15/24\"";
        let (address, prefix) = text.split_once('/').ok_or(WANTED)?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32);
        Ok(Self {
            address: address.parse().map_err(|_| WANTED)?,
            prefix: prefix.ok_or(WANTED)?,
        })
    }
}

fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl TargetConfig {
    /// Reads a file.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        let named = |why: &dyn fmt::Display| wrong(&format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
        Self::parse(&text).map_err(|why| named(&why))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match config.schema.as_str() {
            SCHEMA => Ok(config),
            other => Err(format!("schema is \"{other}\", expected \"{SCHEMA}\"")),
        }
    }
}

const SCHEMA: &str = "smgw.target/1";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
schema = "smgw.target/1"
time-server = "10.0.1.2:123"
[[interface]]
mac = "52:54:00:00:02:15"
address = "10.0.2.15/24"
"#;

    #[test]
    fn a_board_knows_its_networks() {
        let config = TargetConfig::parse(GOOD).unwrap();
        let [han] = config.interfaces.as_slice() else {
            panic!("{config:?}")
        };
        assert_eq!(han.address.address, Ipv4Addr::new(10, 0, 2, 15));
        assert_eq!(han.address.prefix, 24);
        assert_eq!(config.time_server, "10.0.1.2:123".parse().ok());
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for (from, to) in [
            ("target/1", "target/2"),
            ("/24", ""),
            ("/24", "/33"),
            ("10.0.2.15/", "10.0.2.256/"),
            ("mac", "mak"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert!(TargetConfig::parse(&text).is_err(), "{text}");
        }
    }
}
