// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whom the gateway deals with: market participants that get values (WAN communication profile), users of the home area
//! network, and controllable local systems with the participants they may reach (proxy communication profile).
//!
//! Certificates are carried as PEM text; whoever holds the profiles checks them before it takes the set.

use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use smgw_units::DeviceId;

use super::name::ProfileName;
use super::span::Seconds;
use super::written::texts;

/// A market participant that gets values.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommunicationProfile {
    /// What evaluation profiles call him.
    pub name: ProfileName,
    /// Where he listens.
    pub address: SocketAddr,
    /// The name he is asked for.
    pub tls_sni: String,
    /// His certificate, PEM.
    pub certificate: String,
}

/// A user of the home area network.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserProfile {
    /// What logs and evaluation profiles call him.
    pub name: ProfileName,
    /// What he may see.
    pub role: UserRole,
    /// His pinned leaf, PEM.
    pub certificate: String,
}

/// Roles of the home area network (detail specifications table 6.4).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum UserRole {
    /// Consumer, with the meters whose values are his.
    Consumer {
        /// The meters.
        #[serde(with = "texts")]
        meters: Vec<DeviceId>,
    },
    /// Service technician.
    Technician,
}

/// A controllable local system, the name it asks for, and the participant it then reaches.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProxyProfile {
    /// The name of the CONNECT request.
    pub local_server_name: String,
    /// The pinned leaf of the system that may use it, PEM.
    pub cls_certificate: String,
    /// Where the participant listens.
    pub wan_peer_address: SocketAddr,
    /// The name he is asked for.
    pub wan_tls_sni: String,
    /// His pinned leaf, PEM.
    pub emt_certificate: String,
    /// Longest time to reach him; the gateway's own when not given.
    #[serde(default, with = "span", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
}

mod span {
    use serde::{Deserializer, Serializer};

    use super::*;

    #[expect(clippy::ref_option, reason = "serde gives the field by reference")]
    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(Seconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(deserializer)?.map(|span| span.0))
    }
}
