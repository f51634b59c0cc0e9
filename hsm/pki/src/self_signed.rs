// SPDX-License-Identifier: MIT OR Apache-2.0
//! Self-signed X.509 v3 certificates (RFC 5280) on the curves of TR-03116-3 table 4, signed inside the module.

use hsm_api::{KeyId, PublicKey, SecurityModule};
use rustls_pki_types::CertificateDer;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{KeyUsages, SubjectAltName, SubjectKeyIdentifier};
use x509_cert::name::Name;

use crate::template::{
    Template, basic_constraints, extended_key_usage, extension, key_identifier, key_usage,
    serial_number,
};
use crate::{CertificateRequest, PkiError, name, oid};

/// Makes a self-signed certificate for a signing key of the module.
///
/// Signed with SHA-256, SHA-384 or SHA-512, whichever has the length of the key's curve (TR-03116-3 table 5); on
/// brainpoolP256r1 that is ecdsa-with-SHA256.
///
/// # Errors
/// [`PkiError::Request`] when the request cannot be encoded, [`PkiError::Module`] when the key is missing or the
/// module fails.
pub fn self_signed(
    module: &dyn SecurityModule,
    key: &KeyId,
    request: &CertificateRequest,
) -> Result<CertificateDer<'static>, PkiError> {
    let public = module.public_key(key)?;
    if request.not_after < request.not_before {
        return Err(PkiError::Request("validity ends before it begins".into()));
    }
    let name = subject(request)?;
    let template = Template {
        serial: serial_number(module, request.serial)?,
        issuer: name.clone(),
        not_before: request.not_before,
        not_after: request.not_after,
        subject: name,
        public_key: public.to_spki_der(),
        extensions: extensions(request, &public)?,
        hash: None,
    };
    template.sign(module, key)
}

/// From the general to the special.
fn subject(request: &CertificateRequest) -> Result<Name, PkiError> {
    let attributes = [
        (oid::COUNTRY, request.country.as_deref()),
        (oid::ORGANIZATION, request.organization.as_deref()),
        (
            oid::ORGANIZATIONAL_UNIT,
            request.organizational_unit.as_deref(),
        ),
        (oid::COMMON_NAME, Some(request.common_name.as_str())),
    ];
    let given: Vec<_> = attributes
        .into_iter()
        .filter_map(|(oid, text)| Some((oid, text?)))
        .collect();
    name::distinguished(&given)
}

fn extensions(request: &CertificateRequest, key: &PublicKey) -> Result<Extensions, PkiError> {
    let mut extensions = vec![
        basic_constraints(false, None)?,
        key_usage(KeyUsages::DigitalSignature)?,
        extended_key_usage(false, &[oid::SERVER_AUTH, oid::CLIENT_AUTH])?,
        extension(false, &SubjectKeyIdentifier(key_identifier(key)?))?,
    ];
    if !request.dns_names.is_empty() {
        let names = request.dns_names.iter().map(|name| name::dns(name));
        extensions.push(extension(
            false,
            &SubjectAltName(names.collect::<Result<_, _>>()?),
        )?);
    }
    Ok(extensions)
}
