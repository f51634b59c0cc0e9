// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test certificate shall say.

use std::time::{Duration, SystemTime};

/// The content of a TLS end-entity certificate of the smart metering infrastructure.
///
/// Fixed for all: X.509 v3, `CA:FALSE`, key usage digitalSignature (critical), extended key usage serverAuth and
/// clientAuth, because every partner of a gateway is authenticated both ways (TR-03116-3 §4–6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateRequest {
    /// Subject and issuer CN, 1 to 64 characters: `esmb0012345678.smgw`, `emt.example`, …
    pub common_name: String,
    /// Subject O.
    pub organization: Option<String>,
    /// Subject OU.
    pub organizational_unit: Option<String>,
    /// Subject C, two capital letters.
    pub country: Option<String>,
    /// DNS names in subjectAltName; without any the extension is absent, as a gateway's certificate wants it.
    pub dns_names: Vec<String>,
    /// Start of validity, in whole seconds.
    pub not_before: SystemTime,
    /// End of validity, in whole seconds.
    pub not_after: SystemTime,
    /// Serial number; without one the module draws 16 random bytes (RFC 5280 §4.1.2.2 asks for uniqueness).
    pub serial: Option<u64>,
}

impl CertificateRequest {
    /// A certificate valid from an hour ago for seven years, the longest that TR-03116-3 §6.3 allows in the LMN.
    pub fn new(common_name: impl Into<String>) -> Self {
        let not_before = SystemTime::now() - HOUR;
        Self {
            common_name: common_name.into(),
            organization: None,
            organizational_unit: None,
            country: None,
            dns_names: Vec::new(),
            not_before,
            not_after: not_before + 7 * YEAR,
            serial: None,
        }
    }

    /// Adds a DNS name.
    pub fn with_dns_name(mut self, name: impl Into<String>) -> Self {
        self.dns_names.push(name.into());
        self
    }

    /// Sets the organisation.
    pub fn with_organization(mut self, name: impl Into<String>) -> Self {
        self.organization = Some(name.into());
        self
    }

    /// Sets the validity.
    pub fn valid(mut self, not_before: SystemTime, not_after: SystemTime) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    /// Bad variant: a validity of one year that ended yesterday.
    pub fn expired(self) -> Self {
        let end = SystemTime::now() - DAY;
        self.valid(end - YEAR, end)
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// 365 days; a leap day does not matter here.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
