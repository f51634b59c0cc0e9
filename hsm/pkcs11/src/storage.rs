// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates and data as token objects (PKCS#11 v2.40 §4.4, §4.6), and the life-cycle phase, which PKCS#11 does not
//! know and which is therefore a data object of ours.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use hsm_api::{
    Curve, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId, ObjectKind, Reason,
    require_sequence,
};

use crate::failure::Failure;

/// All private keys on curves of TR-03116-3, by name.
pub(crate) fn keys(session: &Session) -> Result<Vec<KeyInfo>, Failure> {
    let mut keys = Vec::new();
    for object in session.find_objects(&[
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ])? {
        let wanted = [
            AttributeType::Label,
            AttributeType::EcParams,
            AttributeType::Derive,
        ];
        let (mut label, mut curve, mut usage) = (None, None, KeyUsage::Sign);
        for attribute in session.get_attributes(object, &wanted)? {
            match attribute {
                Attribute::Label(bytes) => label = String::from_utf8(bytes).ok(),
                Attribute::EcParams(oid) => curve = Curve::from_oid_der(&oid),
                Attribute::Derive(true) => usage = KeyUsage::Agree,
                _ => {}
            }
        }
        if let (Some(label), Some(curve)) = (label, curve) {
            keys.push(KeyInfo {
                key: KeyId(label),
                curve,
                usage,
            });
        }
    }
    keys.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(keys)
}

pub(crate) fn objects(session: &Session) -> Result<Vec<ObjectId>, Failure> {
    let mut objects = Vec::new();
    for kind in [ObjectKind::Certificate, ObjectKind::Data] {
        for object in
            session.find_objects(&[Attribute::Class(class(kind)), Attribute::Token(true)])?
        {
            for attribute in session.get_attributes(object, &[AttributeType::Label])? {
                if let Attribute::Label(bytes) = attribute
                    && let Ok(name) = String::from_utf8(bytes)
                    && name != PHASE
                {
                    objects.push(ObjectId { kind, name });
                }
            }
        }
    }
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

/// The new object stands before the old one goes, so a token that breaks in between has lost nothing.
pub(crate) fn write(session: &Session, object: &ObjectId, content: &[u8]) -> Result<(), Failure> {
    let old = find(session, object)?;
    let mut template = vec![
        Attribute::Class(class(object.kind)),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(object.name.clone().into_bytes()),
        Attribute::Value(content.to_vec()),
    ];
    if object.kind == ObjectKind::Certificate {
        require_sequence(content)?;
        template.push(Attribute::CertificateType(CertificateType::X_509));
        template.push(Attribute::Id(object.name.clone().into_bytes()));
        template.push(Attribute::Subject(Vec::new()));
    }
    session.create_object(&template)?;
    for handle in old {
        session.destroy_object(handle)?;
    }
    Ok(())
}

pub(crate) fn remove(session: &Session, object: &ObjectId) -> Result<(), Failure> {
    let found = find(session, object)?;
    if found.is_empty() {
        return Err(missing(object).into());
    }
    for handle in found {
        session.destroy_object(handle)?;
    }
    Ok(())
}

/// A token that was never told its phase is as its maker delivered it.
pub(crate) fn phase(session: &Session) -> Result<LifeCycle, Failure> {
    let stored = match read(session, &ObjectId::data(PHASE)) {
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

pub(crate) fn enter(session: &Session, next: LifeCycle) -> Result<(), Failure> {
    phase(session)?.require_forward(next)?;
    write(session, &ObjectId::data(PHASE), next.name().as_bytes())
}

fn find(session: &Session, object: &ObjectId) -> Result<Vec<ObjectHandle>, Failure> {
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
