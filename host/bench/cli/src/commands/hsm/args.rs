// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `hsm`: one way to name a module for all verbs, and the help that teaches it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bench_engine::ExitCode;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use hsm_api::{PinSource, SecurityModule};
use hsm_open::{Place, TokenSelector};

use super::failed;
use super::lint_cert::LintArgs;
use super::provision::{GenerationOption, PartnerOption};
use crate::failure::Failure;

/// Which security module.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("place").required(true).args(["module", "card", "soft"]))]
pub struct ModuleArgs {
    /// PKCS#11 library of a token.
    #[arg(long, value_name = "LIBRARY", help_heading = MODULE)]
    pub module: Option<PathBuf>,
    /// Label of the token.
    #[arg(long, value_name = "LABEL", requires = "module", conflicts_with = "serial", help_heading = MODULE)]
    pub token: Option<String>,
    /// Serial number of the token, instead of its label.
    #[arg(long, value_name = "SERIAL", requires = "module", help_heading = MODULE)]
    pub serial: Option<String>,
    /// Name, or part of the name, of the PC/SC reader that holds a smartcard.
    #[arg(long, value_name = "READER", help_heading = MODULE)]
    pub card: Option<String>,
    /// Command table of the card, if it is not the built-in one.
    #[arg(long, value_name = "FILE", requires = "card", help_heading = MODULE)]
    pub profile: Option<PathBuf>,
    /// A module in memory, empty and gone at the end; to try a command out.
    #[arg(long, help_heading = MODULE)]
    pub soft: bool,
    /// Where the PIN is.
    #[command(flatten)]
    pub pin: PinArgs,
}

/// Where the PIN is; never on the command line itself, which every process of the machine can read.
#[derive(Args, Clone, Debug)]
pub struct PinArgs {
    /// Environment variable that holds the PIN.
    #[arg(long, value_name = "NAME", group = "pin", help_heading = MODULE)]
    pub pin_env: Option<String>,
    /// File that holds the PIN.
    #[arg(long, value_name = "FILE", group = "pin", help_heading = MODULE)]
    pub pin_file: Option<PathBuf>,
    /// Ask for the PIN on the terminal.
    #[arg(long, group = "pin", help_heading = MODULE)]
    pub pin_prompt: bool,
}

impl PinArgs {
    /// The PIN's source; a prompt names the `place`.
    pub fn source(&self, place: &Place) -> Result<PinSource, Failure> {
        match (&self.pin_env, &self.pin_file) {
            (Some(name), _) => Ok(PinSource::Env(name.clone())),
            (None, Some(file)) => Ok(PinSource::File(file.clone())),
            // Software asks for none.
            (None, None) if self.pin_prompt || *place == Place::Soft => {
                Ok(PinSource::Prompt(place.to_string()))
            }
            (None, None) => Err(Failure::with_help(
                ExitCode::Usage,
                format!(
                    "the {place} asks for a PIN, and the command line does not say where it is"
                ),
                "add --pin-env NAME, --pin-file FILE or --pin-prompt",
            )),
        }
    }
}

const MODULE: &str = "Which security module";

impl ModuleArgs {
    /// Where the module is.
    pub fn place(&self) -> Result<Place, Failure> {
        let selector = match (&self.token, &self.serial) {
            (Some(label), _) => Some(TokenSelector::Label(label.clone())),
            (None, serial) => serial.clone().map(TokenSelector::Serial),
        };
        match (&self.module, &self.card, selector) {
            (Some(library), _, Some(token)) => Ok(Place::Pkcs11 {
                library: library.clone(),
                token,
            }),
            (Some(_), _, None) => Err(Failure::with_help(
                ExitCode::Usage,
                "--module says which library, but not which of its tokens",
                "add --token LABEL or --serial SERIAL; `smgw-bench discover` lists what is there",
            )),
            (None, Some(reader), _) => Ok(Place::Card {
                reader: reader.clone(),
                profile: self.profile.clone(),
            }),
            (None, None, _) => Ok(Place::Soft),
        }
    }

    /// Opens the module. `sessions` is how many requests it shall work on at once, `None` as many as is usual.
    pub fn open(&self, sessions: Option<usize>) -> Result<Arc<dyn SecurityModule>, Failure> {
        let place = self.place()?;
        let pin = self.pin.source(&place)?;
        place.open(&pin, sessions).map_err(failed)
    }
}

/// How to print an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum AnswerFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// `hsm`.
#[derive(Debug, Subcommand)]
pub enum HsmCommand {
    /// Show what a module is and holds: capabilities, life cycle, keys, certificates and data objects.
    #[command(
        after_help = "Example:\n  smgw-bench hsm info --module /usr/lib/softhsm/libsofthsm2.so --token smgw --pin-prompt"
    )]
    Info {
        /// Which module.
        #[command(flatten)]
        at: ModuleArgs,
        /// Output format.
        #[arg(long, value_enum, default_value_t)]
        format: AnswerFormat,
    },
    /// Run the suite that every module of the bench has to pass: promises, known answers, Wycheproof, endurance.
    #[command(
        after_help = "Example:\n  smgw-bench hsm selftest --card Virtual --pin-env SMGW_PIN --effort full\n\nThe keys and objects it makes are named conformance… and removed again. Exit code 100 when anything fails."
    )]
    Selftest(SelftestArgs),
    /// Make keys in a module, and certificates for them: one self-signed, or those of a partner of a test PKI.
    #[command(after_help = PROVISION_EXAMPLES)]
    Provision(ProvisionArgs),
    /// Measure how many signatures, agreements and random blocks a module makes per second.
    #[command(
        after_help = "Example:\n  smgw-bench hsm bench --module /usr/lib/softhsm/libsofthsm2.so --token smgw --pin-file pin --threads 2\n\nMakes a key named smgw-bench-speed per curve and removes it."
    )]
    Bench(BenchArgs),
    /// Sign a SHA-256 digest; prints JSON {signature} (plain r || s).
    #[command(
        after_help = "Example:\n  smgw-bench hsm sign --card Virtual --pin-env SMGW_PIN --key gw-tls --digest $(printf %064d 1)"
    )]
    Sign {
        /// Which module.
        #[command(flatten)]
        at: ModuleArgs,
        /// Name of the key.
        #[arg(long, value_name = "NAME")]
        key: String,
        /// 64 hex digits.
        #[arg(long, value_name = "HEX")]
        digest: String,
    },
    /// Serve a module over a link, to a gateway that cannot reach it; prints JSON {address} and serves until its input ends.
    #[command(
        after_help = "Example:\n  smgw-bench hsm serve --module /usr/lib/softhsm/libsofthsm2.so --token smgw --pin-file pin --secret-file link.secret\n\nThe secret is 64 random hex digits that the gateway's end has too."
    )]
    Serve {
        /// Which module.
        #[command(flatten)]
        at: ModuleArgs,
        /// File of the secret that both ends share.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        /// Where to serve it.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Hold certificates against the profiles of the smart metering PKI; asks no module.
    #[command(
        after_help = "Example:\n  smgw-bench hsm lint-cert pki/*.pem --profile SMGW-W/TLS\n\nExit code 100 when a rule that is sure is broken; what is only assumed gives warnings."
    )]
    LintCert(LintArgs),
    /// List the tokens of a PKCS#11 library as JSON.
    #[command(
        after_help = "Example:\n  smgw-bench hsm tokens --module /usr/lib/softhsm/libsofthsm2.so"
    )]
    Tokens {
        /// PKCS#11 library.
        #[arg(long, value_name = "LIBRARY")]
        module: PathBuf,
    },
}

/// `hsm selftest`.
#[derive(Args, Debug)]
pub struct SelftestArgs {
    /// Which module.
    #[command(flatten)]
    pub at: ModuleArgs,
    /// How much to run.
    #[arg(long, value_enum, default_value_t)]
    pub effort: EffortOption,
    /// Also test a module that is in operation.
    #[arg(long)]
    pub yes: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
}

/// Efforts of `hsm selftest`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum EffortOption {
    /// A sample: seconds on a token, minutes on a card.
    #[default]
    Quick,
    /// Every vector, and 10 000 agreements.
    Full,
}

/// `hsm provision`.
#[derive(Args, Debug)]
pub struct ProvisionArgs {
    /// Which module.
    #[command(flatten)]
    pub at: ModuleArgs,
    /// Name of the brainpoolP256r1 key; one that is there already is used as it is.
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Common name of the self-signed certificate, e.g. esmb0012345678.smgw.
    #[arg(long, value_name = "NAME", requires = "key")]
    pub common_name: Option<String>,
    /// Make a test PKI of this generation: first or second.
    #[arg(long, value_name = "GENERATION", requires_all = ["role", "output"], conflicts_with_all = ["key", "common_name"])]
    pub pki: Option<GenerationOption>,
    /// Partner of the PKI whose SIG, ENC and TLS keys the module shall hold; may be given several times.
    #[arg(long, value_name = "ROLE=NAME", requires = "pki")]
    pub role: Vec<PartnerOption>,
    /// Folder for certificates, revocation lists and manifest.json.
    #[arg(long, value_name = "DIR", requires = "pki")]
    pub output: Option<PathBuf>,
}

const PROVISION_EXAMPLES: &str = "\
Examples:
  smgw-bench hsm provision --module /usr/lib/softhsm/libsofthsm2.so --token smgw --pin-file pin \\
    --key gw-tls --common-name esmb0012345678.smgw
      prints JSON {point, certificate} for a self-signed certificate

  smgw-bench hsm provision --module /usr/lib/softhsm/libsofthsm2.so --token smgw --pin-file pin \\
    --pki second --role smgw=esmb0012345678 --role emt=Example --output pki
      makes root and sub-CA in memory, six keys and certificates in the token, and files in pki/

Roles are smgw, smgw-g (seal of approval), gwa, gwh and emt.";

/// `hsm bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Which module.
    #[command(flatten)]
    pub at: ModuleArgs,
    /// How long to measure each operation, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// How many requests at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: u8,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.01..=3600.0).contains(seconds))
        .ok_or_else(|| "from 0.01 to 3600 seconds".into())
}
