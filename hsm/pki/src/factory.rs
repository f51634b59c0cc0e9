// SPDX-License-Identifier: MIT OR Apache-2.0
//! A complete test PKI of either generation: root, its CRL and TLS signers, sub-CA, end users (TR-03109-4 §2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsm_api::{Curve, KeyId, KeyUsage, PublicKey, Reason, SecurityModule};
use rustls_pki_types::CertificateDer;
use x509_cert::name::Name;

use crate::draft::{Contact, Draft};
use crate::profile::DAY;
use crate::template::serial_number;
use crate::{Flaw, Generation, PkiError, Profile, Purpose, Role, name, oid};

/// What a test PKI shall be like.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which curves.
    pub generation: Generation,
    /// The time of making; certificates are valid from an hour before.
    pub now: SystemTime,
    /// The first serial number, the next ones counting up; without it serial numbers are random.
    pub first_serial: Option<u64>,
    /// What the names of the PKI's keys in the module begin with, so that several PKIs fit into one.
    pub key_prefix: String,
    /// What the common names of the root and its signers begin with: `SM-Test-Root`.
    pub root_name: String,
    /// The common name of the sub-CA without `.CA`.
    pub sub_ca_name: String,
    /// The organisation of all names: `SM-Test-PKI-DE`.
    pub organization: String,
}

impl Setting {
    /// A test PKI made now, with random serial numbers.
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            now: SystemTime::now(),
            first_serial: None,
            key_prefix: format!("{generation}-"),
            root_name: "SM-Test-Root".into(),
            sub_ca_name: "Bench".into(),
            organization: "SM-Test-PKI-DE".into(),
        }
    }
}

/// An end user who wants certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partner {
    /// What it is.
    pub role: Role,
    /// The first part of its common name: the gateway's device identifier or the name of an organisation.
    pub name: String,
    /// The last part of its common name, after the role: `MAK`, `API`.
    pub suffix: Option<String>,
    /// Its market participant number, as OU.
    pub unit: Option<String>,
    /// The serialNumber of its name, counting its sets of certificates.
    pub sequence: u32,
    /// How to reach it, for subjectAltName; gateways have none.
    pub contact: Contact,
}

impl Partner {
    /// A partner with its first set of certificates, reachable at hosts below `example`.
    pub fn new(role: Role, name: impl Into<String>) -> Self {
        let name = name.into();
        let host = format!("{}.{}.example", name, role.tag()).to_lowercase();
        Self {
            role,
            name,
            suffix: None,
            unit: None,
            sequence: 1,
            contact: Contact::at(&host),
        }
    }

    /// `NAME.ROLE` or `NAME.ROLE.SUFFIX`.
    pub fn common_name(&self) -> String {
        let suffix = self.suffix.iter().map(|suffix| format!(".{suffix}"));
        let end: String = suffix.collect();
        format!("{}.{}{end}", self.name, self.role.tag())
    }
}

/// A certificate, where its key is, and what leads from it to the root.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What it is.
    pub profile: Profile,
    /// The key in the module of its owner.
    pub key: KeyId,
    /// The certificate, then its issuer and so on; without the root, unless it is the root.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Issued {
    /// The certificate itself.
    ///
    /// # Panics
    /// When somebody emptied the chain.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}

/// The three certificates of an end user.
#[derive(Clone, Debug)]
pub struct Triple {
    /// For signatures over content.
    pub sig: Issued,
    /// For encryption of content.
    pub enc: Issued,
    /// For TLS.
    pub tls: Issued,
}

impl Triple {
    /// All three: SIG, ENC, TLS.
    pub fn iter(&self) -> impl Iterator<Item = &Issued> {
        [&self.sig, &self.enc, &self.tls].into_iter()
    }
}

/// What signs certificates or lists.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub(crate) issued: Issued,
    pub(crate) name: Name,
    pub(crate) public_key: PublicKey,
    pub(crate) contact: Contact,
}

/// A test PKI whose keys live in a security module.
///
/// ```
/// use std::sync::Arc;
/// use hsm_pki::{Generation, Partner, Role, Setting, TestPki};
///
/// let module = Arc::new(hsm_soft::SoftModule::new());
/// let pki = TestPki::new(module.clone(), Setting::new(Generation::Second))?;
/// let emt = pki.issue(&Partner::new(Role::Emt, "Example"), &*module)?;
/// println!("{}", hsm_pki::to_pem(emt.tls.certificate()));
/// # Ok::<(), hsm_pki::PkiError>(())
/// ```
#[derive(Debug)]
pub struct TestPki {
    module: Arc<dyn SecurityModule>,
    setting: Setting,
    next_serial: Option<AtomicU64>,
    pub(crate) root: Authority,
    pub(crate) crl_signer: Authority,
    tls_signer: Authority,
    tls: Authority,
    pub(crate) sub_ca: Authority,
}

impl TestPki {
    /// Makes the keys and certificates of the authorities.
    ///
    /// # Errors
    /// [`PkiError::Module`] when the module lacks a curve or fails, [`PkiError::Request`] when a name cannot be
    /// written.
    pub fn new(module: Arc<dyn SecurityModule>, setting: Setting) -> Result<Self, PkiError> {
        let next_serial = setting.first_serial.map(AtomicU64::new);
        let maker = Maker {
            module: &*module,
            setting: &setting,
            next_serial: &next_serial,
        };
        let root = maker.authority(Profile::Root, None)?;
        let crl_signer = maker.authority(Profile::RootCrlSigner, Some(&root))?;
        let tls_signer = maker.authority(Profile::RootTlsSigner, Some(&root))?;
        let tls = maker.authority(Profile::RootTls, Some(&tls_signer))?;
        let sub_ca = maker.authority(Profile::SubCa, Some(&root))?;
        Ok(Self {
            root,
            crl_signer,
            tls_signer,
            tls,
            sub_ca,
            module,
            setting,
            next_serial,
        })
    }

    /// Which generation it is of.
    pub fn generation(&self) -> Generation {
        self.setting.generation
    }

    /// When it was made.
    pub fn made_at(&self) -> SystemTime {
        self.setting.now
    }

    /// The module with the keys of the authorities.
    pub fn module(&self) -> &dyn SecurityModule {
        &*self.module
    }

    /// The self-signed root.
    pub fn root(&self) -> &Issued {
        &self.root.issued
    }

    /// The signer of the root's revocation lists.
    pub fn crl_signer(&self) -> &Issued {
        &self.crl_signer.issued
    }

    /// The signer of the root's TLS certificates.
    pub fn tls_signer(&self) -> &Issued {
        &self.tls_signer.issued
    }

    /// The root's TLS certificate.
    pub fn root_tls(&self) -> &Issued {
        &self.tls.issued
    }

    /// The sub-CA.
    pub fn sub_ca(&self) -> &Issued {
        &self.sub_ca.issued
    }

    /// The root, its helpers and the sub-CA.
    pub fn authorities(&self) -> impl Iterator<Item = &Issued> {
        [
            &self.root,
            &self.crl_signer,
            &self.tls_signer,
            &self.tls,
            &self.sub_ca,
        ]
        .into_iter()
        .map(|authority| &authority.issued)
    }

    /// Makes the three keys of a partner in its own module, named `COMMON-NAME-SIG` and so on, and certifies them.
    ///
    /// # Errors
    /// [`PkiError::Module`] when a key exists already or a module fails.
    pub fn issue(
        &self,
        partner: &Partner,
        holder: &dyn SecurityModule,
    ) -> Result<Triple, PkiError> {
        let issue = |purpose| {
            let key = key_name(partner, purpose);
            let curve = self
                .generation()
                .curve(Profile::EndUser(partner.role, purpose));
            let public = holder.generate_key(&key, curve, Purpose::key_usage(purpose))?;
            self.certify(partner, purpose, key, &public)
        };
        Ok(Triple {
            sig: issue(Purpose::Sig)?,
            enc: issue(Purpose::Enc)?,
            tls: issue(Purpose::Tls)?,
        })
    }

    /// Certifies one key of a partner, wherever it is.
    ///
    /// # Errors
    /// [`PkiError::Module`] when the module fails, [`PkiError::Request`] when a name cannot be written.
    pub fn certify(
        &self,
        partner: &Partner,
        purpose: Purpose,
        key: KeyId,
        public: &PublicKey,
    ) -> Result<Issued, PkiError> {
        self.draft(partner, purpose, public)?
            .finish(&*self.module, key)
    }

    /// Certifies one key of a partner, with one deliberate flaw.
    ///
    /// # Errors
    /// As [`Self::certify`].
    pub fn certify_flawed(
        &self,
        partner: &Partner,
        purpose: Purpose,
        key: KeyId,
        public: &PublicKey,
        flaw: Flaw,
    ) -> Result<Issued, PkiError> {
        let mut draft = self.draft(partner, purpose, public)?;
        flaw.apply(&mut draft, self)?;
        draft.finish(&*self.module, key)
    }

    /// The certificate that links this root to the next one: the next root's name and key, signed by this root.
    ///
    /// # Errors
    /// [`PkiError::Module`] when the module fails.
    pub fn link_to(&self, next: &Self) -> Result<Issued, PkiError> {
        let mut draft = self.maker().draft(
            Profile::Root,
            next.root.name.clone(),
            &next.root.public_key,
            &next.root.contact,
            Some(&self.root),
        )?;
        // Seen from the old root it is an authority below it, and ends with it.
        draft.template.not_after = draft.template.not_after.min(lifetime_end(
            self.setting.now,
            Profile::Root.lifetime().duration(),
        ));
        draft.finish(&*self.module, next.root.issued.key.clone())
    }

    /// One more authority with a key of its own.
    pub(crate) fn other_authority(
        &self,
        profile: Profile,
        name: &Name,
        issuer: Option<&Authority>,
        key: &str,
    ) -> Result<Authority, PkiError> {
        let key = KeyId(format!("{}{key}", self.setting.key_prefix));
        let curve = self.generation().curve(profile);
        let public = self.own_key(&key, curve, KeyUsage::Sign)?;
        let contact = &self.sub_ca.contact;
        let draft = self
            .maker()
            .draft(profile, name.clone(), &public, contact, issuer)?;
        Ok(Authority {
            issued: draft.finish(&*self.module, key)?,
            name: name.clone(),
            public_key: public,
            contact: contact.clone(),
        })
    }

    /// A key in the PKI's own module, made when it is asked for first.
    pub(crate) fn own_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, PkiError> {
        match self.module.public_key(key) {
            Err(error) if error.reason() == Reason::NotFound => {
                Ok(self.module.generate_key(key, curve, usage)?)
            }
            found => Ok(found?),
        }
    }

    pub(crate) fn key_prefix(&self) -> &str {
        &self.setting.key_prefix
    }

    pub(crate) fn draft(
        &self,
        partner: &Partner,
        purpose: Purpose,
        public: &PublicKey,
    ) -> Result<Draft, PkiError> {
        self.maker().draft(
            Profile::EndUser(partner.role, purpose),
            partner_name(partner, &self.setting.organization)?,
            public,
            &partner.contact,
            Some(&self.sub_ca),
        )
    }

    fn maker(&self) -> Maker<'_> {
        Maker {
            module: &*self.module,
            setting: &self.setting,
            next_serial: &self.next_serial,
        }
    }
}

/// The name that [`TestPki::issue`] gives a key.
pub fn key_name(partner: &Partner, purpose: Purpose) -> KeyId {
    KeyId(format!("{}-{}", partner.common_name(), purpose.name()))
}

/// The distinguished name of a partner's certificates.
pub(crate) fn partner_name(partner: &Partner, organization: &str) -> Result<Name, PkiError> {
    let sequence = partner.sequence.to_string();
    let common_name = partner.common_name();
    let unit = partner.unit.as_deref();
    let attributes = [
        Some((oid::COMMON_NAME, common_name.as_str())),
        Some((oid::ORGANIZATION, organization)),
        unit.map(|unit| (oid::ORGANIZATIONAL_UNIT, unit)),
        Some((oid::COUNTRY, "DE")),
        Some((oid::SERIAL_NUMBER, sequence.as_str())),
    ];
    let given: Vec<_> = attributes.into_iter().flatten().collect();
    name::distinguished(&given)
}

/// What it takes to make certificates before the PKI is complete.
struct Maker<'a> {
    module: &'a dyn SecurityModule,
    setting: &'a Setting,
    next_serial: &'a Option<AtomicU64>,
}

impl Maker<'_> {
    fn authority(
        &self,
        profile: Profile,
        issuer: Option<&Authority>,
    ) -> Result<Authority, PkiError> {
        let key = KeyId(format!("{}{profile}", self.setting.key_prefix));
        let curve = self.setting.generation.curve(profile);
        let public = self.module.generate_key(&key, curve, KeyUsage::Sign)?;
        let name = self.authority_name(profile)?;
        let contact = Contact::at(match profile {
            Profile::SubCa => "sub-ca.example",
            _ => "root-ca.example",
        });
        let draft = self.draft(profile, name.clone(), &public, &contact, issuer)?;
        Ok(Authority {
            issued: draft.finish(self.module, key)?,
            name,
            public_key: public,
            contact,
        })
    }

    /// The names of certificates in use; the serialNumber of a root counts its keys.
    fn authority_name(&self, profile: Profile) -> Result<Name, PkiError> {
        let Setting {
            root_name,
            sub_ca_name,
            organization,
            generation,
            ..
        } = self.setting;
        let common_name = match profile {
            Profile::RootCrlSigner => format!("{root_name}.CA.CRL-S"),
            Profile::RootTlsSigner => format!("{root_name}.CA.TLS-S"),
            Profile::RootTls => format!("{root_name}.CA.TLS"),
            Profile::SubCa => format!("{sub_ca_name}.CA"),
            _ => format!("{root_name}.CA"),
        };
        let mut attributes = vec![
            (oid::COMMON_NAME, common_name.as_str()),
            (oid::ORGANIZATION, organization.as_str()),
            (oid::COUNTRY, "DE"),
        ];
        let number = match generation {
            Generation::First => "1",
            Generation::Second => "2",
        };
        // Sub-CA certificates in use name the CRL signer without a serialNumber.
        if profile != Profile::RootCrlSigner {
            attributes.push((oid::SERIAL_NUMBER, number));
        }
        name::distinguished(&attributes)
    }

    fn draft(
        &self,
        profile: Profile,
        subject: Name,
        public: &PublicKey,
        contact: &Contact,
        issuer: Option<&Authority>,
    ) -> Result<Draft, PkiError> {
        let given = self
            .next_serial
            .as_ref()
            .map(|next| next.fetch_add(1, Ordering::Relaxed));
        let not_before = self.setting.now - HOUR;
        Draft::new(
            profile,
            serial_number(self.module, given)?,
            (
                not_before,
                lifetime_end(not_before, profile.lifetime().duration()),
            ),
            (subject, public, contact),
            issuer,
            self.authority_name(Profile::RootCrlSigner)?,
        )
    }
}

/// The last second of the day on which the lifetime ends, as certificates in use have it.
fn lifetime_end(start: SystemTime, lifetime: Duration) -> SystemTime {
    let end = start + lifetime;
    let since = end.duration_since(UNIX_EPOCH).unwrap_or_default();
    let into_day = Duration::from_secs(since.as_secs() % DAY.as_secs());
    let midnight = end - into_day - Duration::from_nanos(u64::from(since.subsec_nanos()));
    midnight + DAY - Duration::from_secs(1)
}

const HOUR: Duration = Duration::from_secs(3_600);
