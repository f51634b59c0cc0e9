// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates and data as token objects (PKCS#11 v2.40 §4.4, §4.6), and the life-cycle phase, which PKCS#11 does not
//! know and which is therefore a data object of ours.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use hsm_api::{LifeCycle, ModuleError, ObjectId, ObjectKind, Reason};
use x509_cert::Certificate;
use x509_cert::der::{self, Decode, Encode};

use crate::failure::Failure;

/// All certificates and data objects but our own, by kind and name.
pub(crate) fn list(session: &Session) -> Result<Vec<ObjectId>, Failure> {
    let mut objects = Vec::new();
    for kind in [ObjectKind::Certificate, ObjectKind::Data] {
        for object in
            session.find_objects(&[Attribute::Class(class(kind)), Attribute::Token(true)])?
        {
            for attribute in session.get_attributes(object, &[AttributeType::Label])? {
                if let Attribute::Label(bytes) = attribute
                    && let Ok(name) = String::from_utf8(bytes)
                {
                    objects.push(ObjectId { kind, name });
                }
            }
        }
    }
    objects.retain(|object| *object != phase_object());
    objects.sort();
    Ok(objects)
}

pub(crate) fn read(session: &Session, object: &ObjectId) -> Result<Vec<u8>, Failure> {
    let found = find(session, object)?;
    let handle = found.first().ok_or_else(|| missing(object))?;
    match session
        .get_attributes(*handle, &[AttributeType::Value])?
        .into_iter()
        .next()
    {
        Some(Attribute::Value(value)) => Ok(value),
        _ => Err(ModuleError::module(format!("the token hides the {object}")).into()),
    }
}

/// Stores an object in place of others. The new one stands before the old ones go, so that a token that breaks in
/// between has lost nothing.
pub(crate) fn replace(
    session: &Session,
    old: &[ObjectHandle],
    object: &ObjectId,
    content: &[u8],
) -> Result<(), Failure> {
    let mut template = vec![
        Attribute::Class(class(object.kind)),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(object.name.clone().into_bytes()),
        Attribute::Value(content.to_vec()),
    ];
    if object.kind == ObjectKind::Certificate {
        template.push(Attribute::CertificateType(CertificateType::X_509));
        template.push(Attribute::Id(object.name.clone().into_bytes()));
        template.extend(names_in(content));
    }
    session.create_object(&template)?;
    for handle in old {
        session.destroy_object(*handle)?;
    }
    Ok(())
}

/// What other programs look certificates up by (PKCS#11 v2.40 §4.6.3). A certificate that nobody can read gets an
/// empty subject, which tokens insist on.
fn names_in(certificate: &[u8]) -> Vec<Attribute> {
    let read = || -> Result<Vec<Attribute>, der::Error> {
        let certificate = Certificate::from_der(certificate)?;
        let content = certificate.tbs_certificate();
        Ok(vec![
            Attribute::Subject(content.subject().to_der()?),
            Attribute::Issuer(content.issuer().to_der()?),
            Attribute::SerialNumber(content.serial_number().to_der()?),
        ])
    };
    read().unwrap_or_else(|_| vec![Attribute::Subject(Vec::new())])
}

/// `begun` remembers over a repetition that there was something to remove.
pub(crate) fn remove(
    session: &Session,
    object: &ObjectId,
    begun: &mut bool,
) -> Result<(), Failure> {
    let found = find(session, object)?;
    if found.is_empty() && !*begun {
        return Err(missing(object).into());
    }
    *begun = true;
    for handle in found {
        session.destroy_object(handle)?;
    }
    Ok(())
}

/// A token that was never told its phase is as its maker delivered it.
pub(crate) fn phase(session: &Session) -> Result<LifeCycle, Failure> {
    let stored = match read(session, &phase_object()) {
        Ok(stored) => stored,
        Err(Failure::Ours(error)) if error.reason() == Reason::NotFound => {
            return Ok(LifeCycle::Production);
        }
        Err(failure) => return Err(failure),
    };
    String::from_utf8(stored)
        .ok()
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| {
            ModuleError::module(format!("the token's object \"{PHASE}\" names no phase")).into()
        })
}

/// The object that holds the phase's name.
pub(crate) fn phase_object() -> ObjectId {
    ObjectId::data(PHASE)
}

/// Keeps the phase out of reach of those who store data: only [`hsm_api::SecurityModule::enter_phase`] changes it.
pub(crate) fn require_free_name(object: &ObjectId) -> Result<(), ModuleError> {
    if *object == phase_object() {
        Err(ModuleError::caller(format!(
            "the name \"{PHASE}\" is the driver's own; choose another"
        ))
        .because(Reason::NotAllowed))
    } else {
        Ok(())
    }
}

pub(crate) fn find(session: &Session, object: &ObjectId) -> Result<Vec<ObjectHandle>, Failure> {
    Ok(session.find_objects(&[
        Attribute::Class(class(object.kind)),
        Attribute::Token(true),
        Attribute::Label(object.name.clone().into_bytes()),
    ])?)
}

fn missing(object: &ObjectId) -> ModuleError {
    ModuleError::caller(format!("the token has no {object}")).because(Reason::NotFound)
}

const fn class(kind: ObjectKind) -> ObjectClass {
    match kind {
        ObjectKind::Certificate => ObjectClass::CERTIFICATE,
        _ => ObjectClass::DATA,
    }
}

/// Label of the object that holds the phase's name.
const PHASE: &str = "smgw-life-cycle";
