// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens whichever security module a user names, and puts the layers in front of it that every user wants.
//!
//! The only place that knows all back-ends; gateway and commands know [`Place`].

use std::fmt;
use std::net::SocketAddr;
#[cfg(feature = "card")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use hsm_api::guarded::Limits;
use hsm_api::traced::TraceSink;
use hsm_api::{Checked, Guarded, ModuleError, PinSource, SecurityModule, Traced};
#[cfg(feature = "card")]
use hsm_card::{CardModule, CardOptions, CardProfile, PcscReader};
use hsm_link::{LinkModule, Patience, Secret};
#[cfg(feature = "pkcs11")]
use hsm_pkcs11::{Pkcs11Config, Pkcs11Module, PointEncoding, Quirks, TokenInfo};
use hsm_soft::SoftModule;

#[cfg(feature = "pkcs11")]
pub use hsm_pkcs11::TokenSelector;

/// Where a security module is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A token behind a PKCS#11 library.
    #[cfg(feature = "pkcs11")]
    Pkcs11 {
        /// The library of the token's maker.
        library: PathBuf,
        /// Which of its tokens.
        token: TokenSelector,
    },
    /// A smartcard of TR-03109-2 in a PC/SC reader.
    #[cfg(feature = "card")]
    Card {
        /// The reader's name, or a part of it that no other has.
        reader: String,
        /// The card's command table; `None` takes the built-in one.
        profile: Option<PathBuf>,
    },
    /// The other end of a link, which knows the PIN.
    Link {
        /// Where it is served.
        address: SocketAddr,
        /// File of the secret both ends share.
        secret: PathBuf,
    },
    /// This process's memory: empty at first, gone at the end.
    Soft,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11 { token, .. } => write!(f, "{token}"),
            #[cfg(feature = "card")]
            Self::Card { reader, .. } => write!(f, "card in reader {reader}"),
            Self::Link { address, .. } => write!(f, "link to {address}"),
            Self::Soft => f.write_str("software"),
        }
    }
}

impl Place {
    /// Opens the module. `sessions` is how many requests a token shall work on at once, `None` as many as is usual.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`] when it is not there, [`hsm_api::Fault::Module`] when it refuses, for instance
    /// the PIN, and [`hsm_api::Fault::Caller`] when there is no PIN where it should be.
    pub fn open(
        &self,
        pin: &PinSource,
        sessions: Option<usize>,
    ) -> Result<Arc<dyn SecurityModule>, ModuleError> {
        // Not every kind of module asks for them, and a program may know only such.
        let _ = (pin, sessions);
        match self {
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11 { library, token } => {
                let usual = Pkcs11Config::new(library, token.clone(), pin.clone());
                let module = Pkcs11Module::open(Pkcs11Config {
                    sessions: sessions.unwrap_or(usual.sessions),
                    ..usual
                })?;
                Ok(Arc::new(module))
            }
            #[cfg(feature = "card")]
            Self::Card { reader, profile } => {
                let profile = card_profile(profile.as_deref())?;
                let pin = pin
                    .read()
                    .map_err(|error| ModuleError::caller(error.to_string()))?;
                let options = CardOptions {
                    profile,
                    ..CardOptions::default()
                };
                let reader = Box::new(PcscReader::new(reader.as_str()));
                Ok(Arc::new(CardModule::open(reader, pin, options)?))
            }
            Self::Link { address, secret } => {
                let secret = Secret::read_file(secret)?;
                let module = LinkModule::connect(*address, secret, Patience::default())?;
                Ok(Arc::new(module))
            }
            Self::Soft => Ok(Arc::new(SoftModule::new())),
        }
    }
}

/// Something in which one module differs from others, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peculiarity {
    /// What it is about.
    pub what: String,
    /// How it is with this module.
    pub value: String,
    /// Where this is known from.
    pub source: String,
}

impl Place {
    /// What the driver does because of the module's maker and model, and how it knows. The module itself is not asked
    /// to prove it.
    ///
    /// # Errors
    /// As [`Self::open`], without those of the PIN.
    pub fn peculiarities(&self) -> Result<Vec<Peculiarity>, ModuleError> {
        match self {
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11 { library, token } => {
                let tokens = hsm_pkcs11::tokens(library)?;
                let named = tokens.iter().find(|info| match token {
                    TokenSelector::Label(label) => info.label == *label,
                    TokenSelector::Serial(serial) => info.serial == *serial,
                });
                Ok(named.map(of_token).unwrap_or_default())
            }
            #[cfg(feature = "card")]
            Self::Card { profile, .. } => Ok(card_profile(profile.as_deref())?
                .rows()
                .into_iter()
                .map(|row| Peculiarity {
                    what: row.what,
                    value: row.value,
                    source: format!("{}, {}", row.source, row.confidence),
                })
                .collect()),
            Self::Link { .. } | Self::Soft => Ok(Vec::new()),
        }
    }
}

#[cfg(feature = "pkcs11")]
fn of_token(info: &TokenInfo) -> Vec<Peculiarity> {
    let quirks = Quirks::of(&info.manufacturer, &info.model);
    let source = if quirks == Quirks::default() {
        "PKCS#11; nothing else is known of this token".to_owned()
    } else {
        format!("driver's table: {} {}", info.manufacturer, info.model)
    };
    let word = |yes| if yes { "yes" } else { "no" };
    let form = match quirks.point_encoding {
        PointEncoding::Raw => "raw",
        PointEncoding::Der => "DER OCTET STRING",
    };
    [
        ("peer's point in key agreement", form),
        (
            "takes public keys to verify with",
            word(quirks.takes_public_keys),
        ),
        ("destroys objects", word(quirks.destroys_objects)),
        (
            "finds tokens only when it starts",
            word(quirks.lists_tokens_at_start),
        ),
    ]
    .map(|(what, value)| Peculiarity {
        what: what.into(),
        value: value.into(),
        source: source.clone(),
    })
    .into()
}

/// A card's command table: the built-in one, or that of a file.
///
/// # Errors
/// [`hsm_api::Fault::Caller`] when the file cannot be read or is no such table.
#[cfg(feature = "card")]
pub fn card_profile(file: Option<&Path>) -> Result<CardProfile, ModuleError> {
    let Some(file) = file else {
        return Ok(CardProfile::tr03109_2_assumed());
    };
    let unusable = |why: &dyn fmt::Display| {
        ModuleError::caller(format!("{}: {why}", file.display())).because(hsm_api::Reason::BadInput)
    };
    let text = std::fs::read_to_string(file).map_err(|error| unusable(&error))?;
    CardProfile::parse(&text).map_err(|error| unusable(&error))
}

/// Puts the layers in front of a module: every operation that runs in it is recorded under `place`, its results are
/// verified in software, and no caller waits longer than `limits` allow.
///
/// # Errors
/// As [`Guarded::new`].
pub fn protect(
    module: Arc<dyn SecurityModule>,
    place: impl Into<Arc<str>>,
    sink: Arc<dyn TraceSink>,
    limits: Limits,
) -> Result<Arc<dyn SecurityModule>, ModuleError> {
    let traced = Arc::new(Traced::new(module, place, sink));
    let checked = Arc::new(Checked::new(traced, Arc::new(SoftModule::new())));
    Ok(Arc::new(Guarded::new(checked, limits)?))
}

#[cfg(test)]
mod tests {
    use hsm_api::traced::Recorder;
    use hsm_api::{Curve, Fault, KeyUsage, Operation};

    use super::*;

    fn nowhere() -> PinSource {
        PinSource::Env("SMGW_NO_SUCH_PIN".into())
    }

    #[test]
    fn a_protected_module_works_and_leaves_its_trace() {
        let bare = Place::Soft.open(&nowhere(), None).unwrap();
        let recorder = Arc::new(Recorder::new(0));
        let module = protect(bare, "soft", recorder.clone(), Limits::default()).unwrap();
        let key = "k".into();
        let curve = Curve::BrainpoolP384r1;
        let public = module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let signature = module.sign_digest(&key, &[1; 48]).unwrap();
        assert!(hsm_soft::verify(&public, &[1; 48], &signature).unwrap());
        let ephemeral = module.ephemeral_key(curve).unwrap();
        ephemeral.agree(&public.point).unwrap();
        for operation in [Operation::Sign, Operation::EphemeralKey, Operation::Agree] {
            assert_eq!(recorder.summary().count("soft", operation), 1);
        }
        // The signature was verified, but not by the module itself.
        assert_eq!(recorder.summary().count("soft", Operation::Verify), 0);
    }

    #[test]
    fn the_other_end_of_a_link_is_a_module_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let secret = Secret::generate().unwrap();
        std::fs::write(&file, format!("{}\n", *secret.to_hex())).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let served = hsm_link::serve(listener, Arc::new(SoftModule::new()), secret).unwrap();
        let place = Place::Link {
            address: served.address(),
            secret: file.clone(),
        };
        let module = place.open(&nowhere(), None).unwrap();
        assert_eq!(module.capabilities().curves.len(), Curve::ALL.len());
        std::fs::write(&file, "not a secret").unwrap();
        assert_eq!(
            place.open(&nowhere(), None).unwrap_err().fault(),
            Fault::Caller
        );
    }

    #[cfg(feature = "pkcs11")]
    #[test]
    fn who_is_at_fault_for_a_module_that_does_not_open() {
        let token = Place::Pkcs11 {
            library: "/nowhere/libtoken.so".into(),
            token: TokenSelector::Label("t".into()),
        };
        let error = token.open(&nowhere(), None).unwrap_err();
        assert_eq!(error.fault(), Fault::Transport, "{error}");
        assert!(
            error.to_string().contains("/nowhere/libtoken.so"),
            "{error}"
        );
    }
}
