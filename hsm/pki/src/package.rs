// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificate request packages (TR-03109-4 annex C): CRMF requests, the outer signature of a renewal, and the
//! authorisation by somebody else.
//!
//! The layout is that of packages which sub-CAs in use accept: a ContentInfo of type bsiCertReqMsgs around RFC 4211
//! `CertReqMessages` (the same bytes as a CMP message whose header is that identifier and whose body is `ir`), each
//! request signed with its own key; and of type bsiCertReqMsgswithOuterSignature around CMS SignedData (RFC 5652)
//! over them. That an authorised package, bsiAuthorizedCertReqMsgs, is one more SignedData around either of them, is
//! an assumption: only its identifier is known.

use der::asn1::{Any, BitString, Int, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode, Encode, Sequence, ValueOrd};
use hsm_api::{Hash, KeyId, ModuleError, PublicKey, SecurityModule};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::draft::{subject_alt_name, subject_key_id, usages};
use crate::factory::partner_name;
use crate::signing;
use crate::template::{content_of, extended_key_usage, extension, key_identifier, serial_number};
use crate::{Issued, Partner, PkiError, Profile, Purpose, ber, file, oid, unencodable};

/// A package that cannot be accepted; the variants are the failures that TR-03129-4 tells apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// It is no package.
    #[error("the package cannot be read: {0}")]
    Syntax(String),
    /// The proof of possession of one key.
    #[error(
        "the inner signature of request {0} is not made with the key it asks a certificate for"
    )]
    InnerSignature(usize),
    /// The signature of a renewal with the old SIG key.
    #[error("the outer signature is not that of its certificate")]
    OuterSignature,
    /// The signature of whoever allows the request.
    #[error("the authorisation signature is not that of its certificate")]
    AuthorizationSignature,
    /// The module cannot tell.
    #[error("the security module failed: {0}")]
    Module(#[from] ModuleError),
}

impl PackageError {
    /// The return code of TR-03129-4 for it.
    pub const fn return_code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "failure_syntax",
            Self::InnerSignature(_) => "failure_inner_signature",
            Self::OuterSignature => "failure_outer_signature",
            Self::AuthorizationSignature => "failure_authorization_signature",
            Self::Module(_) => "failure_internal_error",
        }
    }
}

/// Asks for certificates for these keys of the module, each signed with itself.
///
/// The key of an ENC certificate signs its request too, as in packages in use. A module that keeps agreement keys
/// from signing refuses that; keys for a request are made with [`hsm_api::KeyUsage::Sign`] there.
///
/// # Errors
/// [`PkiError::Module`] when a key is missing or may not sign, [`PkiError::Request`] when a name cannot be written.
pub fn request_package(
    module: &dyn SecurityModule,
    organization: &str,
    partner: &Partner,
    keys: &[(Purpose, KeyId)],
) -> Result<Vec<u8>, PkiError> {
    let subject = partner_name(partner, organization)?;
    let messages = keys
        .iter()
        .map(|(purpose, key)| message(module, &subject, partner, *purpose, key))
        .collect::<Result<Vec<_>, _>>()?;
    wrap(REQUESTS, &messages.to_der().map_err(unencodable)?)
}

/// Signs a package with the SIG key that is still valid, to renew certificates.
///
/// # Errors
/// [`PkiError::Request`] when `package` is not one of [`request_package`], [`PkiError::Module`] when the module fails.
pub fn sign_package(
    module: &dyn SecurityModule,
    package: &[u8],
    signer: &Issued,
) -> Result<Vec<u8>, PkiError> {
    signed(module, package, signer, WITH_OUTER_SIGNATURE)
}

/// Signs a package, renewed or not, to allow it: what an administrator or maker does for a gateway.
///
/// # Errors
/// As [`sign_package`].
pub fn authorize_package(
    module: &dyn SecurityModule,
    package: &[u8],
    signer: &Issued,
) -> Result<Vec<u8>, PkiError> {
    signed(module, package, signer, AUTHORIZED)
}

/// One request of a package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestedKey {
    /// The name that the certificate shall have, as RFC 4514 writes it.
    pub subject: String,
    /// What the key is for.
    pub purpose: Purpose,
    /// The key.
    pub public_key: PublicKey,
    signed: Vec<u8>,
    algorithm: ObjectIdentifier,
    signature: Vec<u8>,
}

/// A signature around a package. Whether its certificate is to be trusted is left to the reader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageSignature {
    /// Who made it, as the package says.
    pub signer: CertificateDer<'static>,
    content_type: ObjectIdentifier,
    content: Vec<u8>,
    attributes: Vec<Attribute>,
    algorithm: ObjectIdentifier,
    signature: Vec<u8>,
}

/// A package that was read, but not verified yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// The requests in order.
    pub requests: Vec<RequestedKey>,
    /// The signature of a renewal.
    pub outer: Option<PackageSignature>,
    /// The signature that allows it.
    pub authorization: Option<PackageSignature>,
}

impl Package {
    /// Reads a package, BER or DER, of at most 64 KiB.
    ///
    /// # Errors
    /// [`PackageError::Syntax`].
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        if bytes.len() > MAX_LEN {
            return Err(PackageError::Syntax("it is longer than 64 KiB".into()));
        }
        // A generator in use ends its packages with one end mark too many.
        let der = ber::to_der(bytes)
            .or_else(|| ber::to_der(bytes.strip_suffix(&[0, 0])?))
            .ok_or_else(|| PackageError::Syntax("it is no BER".into()))?;
        let info = ContentInfo::from_der(&der).map_err(syntax)?;
        let mut content_type = info.content_type;
        let mut content = info.content.to_der().map_err(syntax)?;
        let mut layer = |layer| -> Result<Option<PackageSignature>, PackageError> {
            if content_type != layer {
                return Ok(None);
            }
            let signature = read_signed(&content)?;
            content_type = signature.content_type;
            content = signature.content.clone();
            Ok(Some(signature))
        };
        let authorization = layer(AUTHORIZED)?;
        let outer = layer(WITH_OUTER_SIGNATURE)?;
        if content_type != REQUESTS {
            return Err(PackageError::Syntax(format!(
                "{content_type} is no content of a package here"
            )));
        }
        let messages = Vec::<Message>::from_der(&content).map_err(syntax)?;
        Ok(Self {
            requests: messages
                .into_iter()
                .map(requested)
                .collect::<Result<_, _>>()?,
            outer,
            authorization,
        })
    }

    /// Verifies all signatures there are, from the outermost to the innermost.
    ///
    /// # Errors
    /// The layer that failed first.
    pub fn verify(&self, module: &dyn SecurityModule) -> Result<(), PackageError> {
        for (signature, wrong) in [
            (&self.authorization, PackageError::AuthorizationSignature),
            (&self.outer, PackageError::OuterSignature),
        ] {
            if let Some(signature) = signature
                && !signature.is_right(module)?
            {
                return Err(wrong);
            }
        }
        for (at, request) in self.requests.iter().enumerate() {
            let RequestedKey {
                public_key,
                signed,
                algorithm,
                signature,
                ..
            } = request;
            let right = signing::verify(module, public_key, algorithm, signed, signature);
            if !right.map_err(failed)? {
                return Err(PackageError::InnerSignature(at));
            }
        }
        Ok(())
    }
}

impl PackageSignature {
    /// Whether the attributes speak of the content, and the certificate's key signed them (RFC 5652 §5.4, §5.6).
    fn is_right(&self, module: &dyn SecurityModule) -> Result<bool, PackageError> {
        let only = |oid| {
            let mut found = self.attributes.iter().filter(|found| found.oid == oid);
            let attribute = found.next().filter(|_| found.next().is_none())?;
            let value = attribute.values.get(0)?;
            (attribute.values.len() == 1).then_some(value)
        };
        let digest = Sha256::digest(&self.content);
        let speaks = only(CONTENT_TYPE)
            .and_then(|value| value.decode_as::<ObjectIdentifier>().ok())
            .is_some_and(|found| found == self.content_type)
            && only(MESSAGE_DIGEST).is_some_and(|value| value.value() == digest.as_slice());
        let Ok(key) = file::public_key(&self.signer) else {
            return Ok(false);
        };
        let message = SetOfVec::try_from(self.attributes.clone())
            .and_then(|set| set.to_der())
            .map_err(syntax)?;
        let right = signing::verify(module, &key, &self.algorithm, &message, &self.signature);
        Ok(speaks && right.map_err(failed)?)
    }
}

fn message(
    module: &dyn SecurityModule,
    subject: &Name,
    partner: &Partner,
    purpose: Purpose,
    key: &KeyId,
) -> Result<Message, PkiError> {
    let public = module.public_key(key)?;
    let profile = Profile::EndUser(partner.role, purpose);
    // What a request asks for is not critical yet; the sub-CA makes it so.
    let mut extensions = vec![
        subject_key_id(&public)?,
        extension(false, &KeyUsage(usages(profile)))?,
    ];
    if !partner.role.is_gateway() {
        extensions.push(subject_alt_name(profile, &partner.contact)?);
    }
    if profile.is_tls() {
        let purposes = [oid::SERVER_AUTH, oid::CLIENT_AUTH];
        extensions.push(extended_key_usage(false, &purposes)?);
    }
    let spki = public.to_spki_der();
    let request = Request {
        id: serial_number(module, None)?,
        template: Template {
            subject: subject.clone(),
            public_key: SubjectPublicKeyInfoOwned::from_der(&spki).map_err(unencodable)?,
            extensions,
        },
    };
    let hash = Hash::of(public.curve);
    let signed = request.to_der().map_err(unencodable)?;
    let signature = signing::sign(module, key, hash, &signed)?;
    Ok(Message {
        request,
        proof: Proof {
            algorithm: signing::algorithm(hash),
            signature: BitString::from_bytes(&signature).map_err(unencodable)?,
        },
    })
}

fn requested(message: Message) -> Result<RequestedKey, PackageError> {
    let Template {
        subject,
        public_key,
        extensions,
    } = &message.request.template;
    let public_key = PublicKey::from_spki_der(&public_key.to_der().map_err(syntax)?)
        .ok_or_else(|| PackageError::Syntax("a key is on no curve of TR-03116-3".into()))?;
    let usage = content_of::<KeyUsage>(extensions)
        .ok_or_else(|| PackageError::Syntax("a request says no keyUsage".into()))?;
    let purpose = match content_of::<ExtendedKeyUsage>(extensions) {
        Some(_) => Purpose::Tls,
        None if usage.0.contains(KeyUsages::DigitalSignature) => Purpose::Sig,
        None => Purpose::Enc,
    };
    Ok(RequestedKey {
        subject: subject.to_string(),
        purpose,
        public_key,
        signed: message.request.to_der().map_err(syntax)?,
        algorithm: message.proof.algorithm.oid,
        signature: message.proof.signature.raw_bytes().to_vec(),
    })
}

fn signed(
    module: &dyn SecurityModule,
    package: &[u8],
    signer: &Issued,
    content_type: ObjectIdentifier,
) -> Result<Vec<u8>, PkiError> {
    let inside = ContentInfo::from_der(package).map_err(unencodable)?;
    let content = inside.content.to_der().map_err(unencodable)?;
    let public = module.public_key(&signer.key)?;
    let digest = OctetString::new(Sha256::digest(&content).as_slice()).map_err(unencodable)?;
    let attributes = SetOfVec::try_from(vec![
        attribute(CONTENT_TYPE, Any::encode_from(&inside.content_type))?,
        attribute(MESSAGE_DIGEST, Any::encode_from(&digest))?,
    ])
    .map_err(unencodable)?;
    let message = attributes.to_der().map_err(unencodable)?;
    let certificates = signer
        .chain
        .iter()
        .map(|certificate| Any::from_der(certificate))
        .collect::<der::Result<Vec<_>>>()
        .map_err(unencodable)?;
    let signature = signing::sign(module, &signer.key, Hash::Sha256, &message)?;
    let signed = SignedData {
        version: 3,
        digest_algorithms: one(sha256())?,
        encapsulated: Encapsulated {
            content_type: inside.content_type,
            content: OctetString::new(content).map_err(unencodable)?,
        },
        certificates: Some(SetOfVec::try_from(certificates).map_err(unencodable)?),
        signers: one(SignerInfo {
            version: 3,
            key_id: key_identifier(&public)?,
            digest_algorithm: sha256(),
            attributes,
            algorithm: signing::algorithm(Hash::Sha256),
            signature: OctetString::new(signature).map_err(unencodable)?,
        })?,
    };
    wrap(content_type, &signed.to_der().map_err(unencodable)?)
}

fn read_signed(der: &[u8]) -> Result<PackageSignature, PackageError> {
    let refuse = |what: &str| PackageError::Syntax(what.to_owned());
    let data = SignedData::from_der(der).map_err(syntax)?;
    let [signer] = data.signers.as_slice() else {
        return Err(refuse("there is not exactly one signer"));
    };
    if signer.digest_algorithm.oid != SHA256 {
        return Err(refuse("the signer's digest is not SHA-256"));
    }
    let certificates = data
        .certificates
        .as_ref()
        .map_or(&[][..], SetOfVec::as_slice);
    let of_signer = certificates.iter().find_map(|certificate| {
        let der = CertificateDer::from(certificate.to_der().ok()?);
        let parsed = x509_cert::Certificate::from_der(&der).ok()?;
        let extensions = parsed.tbs_certificate().extensions()?;
        let id = content_of::<x509_cert::ext::pkix::SubjectKeyIdentifier>(extensions)?;
        (id.0 == signer.key_id).then_some(der)
    });
    Ok(PackageSignature {
        signer: of_signer.ok_or_else(|| refuse("the signer's certificate is not in it"))?,
        content_type: data.encapsulated.content_type,
        content: data.encapsulated.content.as_bytes().to_vec(),
        attributes: signer.attributes.as_slice().to_vec(),
        algorithm: signer.algorithm.oid,
        signature: signer.signature.as_bytes().to_vec(),
    })
}

fn attribute(oid: ObjectIdentifier, value: der::Result<Any>) -> Result<Attribute, PkiError> {
    Ok(Attribute {
        oid,
        values: one(value.map_err(unencodable)?)?,
    })
}

fn one<T: der::DerOrd>(value: T) -> Result<SetOfVec<T>, PkiError> {
    SetOfVec::try_from(vec![value]).map_err(unencodable)
}

fn wrap(content_type: ObjectIdentifier, content: &[u8]) -> Result<Vec<u8>, PkiError> {
    let info = ContentInfo {
        content_type,
        content: Any::from_der(content).map_err(unencodable)?,
    };
    info.to_der().map_err(unencodable)
}

fn sha256() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: SHA256,
        parameters: None,
    }
}

fn syntax(error: der::Error) -> PackageError {
    PackageError::Syntax(error.to_string())
}

fn failed(error: PkiError) -> PackageError {
    match error {
        PkiError::Module(error) => PackageError::Module(error),
        other => PackageError::Syntax(other.to_string()),
    }
}

/// RFC 5652 §3.
#[derive(Sequence)]
struct ContentInfo {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: Any,
}

/// RFC 4211 §3, with the one kind of proof in use.
#[derive(Sequence)]
struct Message {
    request: Request,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT")]
    proof: Proof,
}

/// RFC 4211 §5, without controls.
#[derive(Sequence)]
struct Request {
    id: Int,
    template: Template,
}

/// RFC 4211 §5: the fields that requesters fill in.
#[derive(Sequence)]
struct Template {
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT")]
    subject: Name,
    #[asn1(context_specific = "6", tag_mode = "IMPLICIT")]
    public_key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "9", tag_mode = "IMPLICIT")]
    extensions: Extensions,
}

/// RFC 4211 §4.1: a signature over the request, with nothing beside it.
#[derive(Sequence)]
struct Proof {
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// RFC 5652 §5.1, without lists.
#[derive(Sequence)]
struct SignedData {
    version: u8,
    digest_algorithms: SetOfVec<AlgorithmIdentifierOwned>,
    encapsulated: Encapsulated,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    signers: SetOfVec<SignerInfo>,
}

/// RFC 5652 §5.2.
#[derive(Sequence)]
struct Encapsulated {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: OctetString,
}

/// RFC 5652 §5.3, the signer named by its key identifier.
#[derive(Sequence, ValueOrd)]
struct SignerInfo {
    version: u8,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    key_id: OctetString,
    digest_algorithm: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
    algorithm: AlgorithmIdentifierOwned,
    signature: OctetString,
}

const MAX_LEN: usize = 64 * 1024;
const REQUESTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.127.0.7.4.1.1.1");
const WITH_OUTER_SIGNATURE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("0.4.0.127.0.7.4.1.1.2");
const AUTHORIZED: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.127.0.7.4.1.1.3");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
