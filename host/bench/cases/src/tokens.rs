// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tokens of a run: the gateway's security module, its two faulty stand-ins, and the bench's own sealing key.

use std::path::{Path, PathBuf};

use bench_rig::resource::{PinSource, TokenSelector};
use bench_rig::{Resource, Rig};
use hsm_pkcs11::Pin;
use hsm_pkcs11::softhsm::SoftHsmToken;

use crate::gateway::{TokenConfig, write_private};
use crate::module_tool::{ModuleTool, Provisioned, TokenKey, TokenSigner, own_program};
use crate::trouble::{BringUpError, During};

/// The tokens of a run and how to reach them.
pub(crate) struct Tokens {
    /// The token that holds the gateway's key [`GATEWAY_KEY`].
    pub(crate) gateway_token: TokenConfig,
    /// Environment under which the gateway finds its token.
    pub(crate) gateway_environment: Vec<(String, PathBuf)>,
    /// Environment under which a token of the same name holds another key.
    pub(crate) replaced_environment: Vec<(String, PathBuf)>,
    /// Environment under which there is no token.
    pub(crate) missing_environment: Vec<(String, PathBuf)>,
    seal: TokenKey,
}

/// Name of the gateway's key in its token.
pub(crate) const GATEWAY_KEY: &str = "gw-tls";
const SEAL_KEY: &str = "smgw-bench-seal";

impl Tokens {
    /// Makes or finds the tokens the rig asks for.
    pub(crate) fn prepare(rig: &Rig, dir: &Path) -> Result<Self, BringUpError> {
        let role = rig.security_module.as_ref();
        let resource = role.and_then(|role| rig.resources.get(&role.resource));
        match resource {
            Some(Resource::SoftHsm(soft)) => {
                let module = soft.module_path().ok_or_else(|| BringUpError::Missing {
                    what: "SoftHSM2 (libsofthsm2.so)".to_owned(),
                    help: "install it, e.g. apt-get install softhsm2, or name it by `module` in the rig file".to_owned(),
                })?;
                Self::soft(dir, &module, &soft.label)
            }
            Some(Resource::Pkcs11(token)) => {
                Self::real(dir, &token.module, &token.token, token.pin())
            }
            Some(other) => Err(BringUpError::NotDrivable {
                part: "role.security-module".to_owned(),
                reason: format!("a {} cannot hold the gateway's keys yet", other.kind()),
            }),
            None => Err(BringUpError::NotDrivable {
                part: "role.security-module".to_owned(),
                reason: "our gateway needs one".to_owned(),
            }),
        }
    }

    /// Tokens made for this run: the gateway's, a replaced one of the same name, none, and the bench's own.
    fn soft(dir: &Path, module: &Path, label: &str) -> Result<Self, BringUpError> {
        let make = |name: &str, label: &str| -> Result<(PathBuf, PathBuf), BringUpError> {
            let pin = fresh_pin().during("drawing a PIN")?;
            let home = dir.join(name);
            let token = SoftHsmToken::create(&home, label, &Pin::new(pin.as_str()))
                .during("making a SoftHSM2 token")?;
            let pin_file = dir.join(format!("{name}.pin"));
            write_private(&pin_file, pin.as_bytes()).during("writing a PIN file")?;
            Ok((token.conf().to_owned(), pin_file))
        };
        let environment = |conf: &Path| vec![("SOFTHSM2_CONF".to_owned(), conf.to_owned())];
        let (conf, pin_file) = make("token", label)?;
        // The replaced token opens with the same PIN, so that only the key can give it away.
        let pin = std::fs::read_to_string(&pin_file).during("reading a PIN file")?;
        let replaced = SoftHsmToken::create(&dir.join("replaced"), label, &Pin::new(pin.as_str()))
            .during("making the replaced token")?;
        let empty = dir.join("empty.conf");
        let nowhere = dir.join("no-tokens");
        std::fs::create_dir(&nowhere).during("making an empty token directory")?;
        let text = format!("directories.tokendir = {}\n", nowhere.display());
        write_private(&empty, text.as_bytes()).during("writing a SoftHSM2 configuration")?;
        let (seal_conf, seal_pin) = make("seal", "smgw-bench")?;
        let replaced_environment = environment(replaced.conf());
        let tokens = Self {
            gateway_token: token_config(module, label, &pin_file),
            gateway_environment: environment(&conf),
            replaced_environment: replaced_environment.clone(),
            missing_environment: environment(&empty),
            seal: TokenKey {
                module: module.to_owned(),
                token: "smgw-bench".to_owned(),
                pin_file: seal_pin,
                key: SEAL_KEY.to_owned(),
                environment: environment(&seal_conf),
            },
        };
        tokens
            .key(GATEWAY_KEY, replaced_environment)?
            .provision("replaced.smgw")
            .during("making the replaced key")?;
        Ok(tokens)
    }

    /// A token that is plugged in: the gateway's key and the sealing key live side by side on it.
    fn real(
        dir: &Path,
        module: &Path,
        token: &TokenSelector,
        pin: &PinSource,
    ) -> Result<Self, BringUpError> {
        let TokenSelector::Label(label) = token else {
            return Err(BringUpError::NotDrivable {
                part: "role.security-module".to_owned(),
                reason: "the gateway finds its token by label; give token = { label = … }"
                    .to_owned(),
            });
        };
        let pin = read_pin(pin)?;
        let pin_file = dir.join("token.pin");
        write_private(&pin_file, pin.as_bytes()).during("writing a PIN file")?;
        Ok(Self {
            gateway_token: token_config(module, label, &pin_file),
            gateway_environment: Vec::new(),
            replaced_environment: Vec::new(),
            missing_environment: Vec::new(),
            seal: TokenKey {
                module: module.to_owned(),
                token: label.clone(),
                pin_file,
                key: SEAL_KEY.to_owned(),
                environment: Vec::new(),
            },
        })
    }

    fn key(
        &self,
        key: &str,
        environment: Vec<(String, PathBuf)>,
    ) -> Result<ModuleTool, BringUpError> {
        let program = own_program().during("finding this program")?;
        let at = TokenKey {
            module: self.gateway_token.module.clone(),
            token: self.gateway_token.token_label.clone(),
            pin_file: self.gateway_token.pin_file.clone(),
            key: key.to_owned(),
            environment,
        };
        Ok(ModuleTool::new(program, at))
    }

    /// Makes the gateway's key and certificate.
    pub(crate) fn gateway_key(&self, device_id: &str) -> Result<Provisioned, BringUpError> {
        self.key(GATEWAY_KEY, self.gateway_environment.clone())?
            .provision(&format!("{device_id}.smgw"))
            .during("making the gateway's key and certificate")
    }

    /// Makes or finds the key that seals the evidence.
    pub(crate) fn seal(&self, run_id: &str) -> Result<(TokenSigner, String), BringUpError> {
        let program = own_program().during("finding this program")?;
        let tool = ModuleTool::new(program, self.seal.clone());
        let provisioned = tool
            .provision(&format!(
                "smgw-bench run {}",
                run_id.get(..8).unwrap_or(run_id)
            ))
            .during("making the sealing key")?;
        let signer = tool
            .signer(&provisioned)
            .during("reading the sealing key")?;
        Ok((signer, provisioned.certificate))
    }
}

/// The PIN of a real token. A person is asked on the terminal itself, so that input and output may be redirected.
fn read_pin(source: &PinSource) -> Result<String, BringUpError> {
    let missing = |what: String, help: &str| BringUpError::Missing {
        what,
        help: help.to_owned(),
    };
    match source {
        PinSource::Env(name) => std::env::var(name).map_err(|_| {
            missing(
                format!("the environment variable {name}"),
                "it holds the token's PIN; export it",
            )
        }),
        PinSource::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                missing(
                    format!("the PIN file {} ({error})", path.display()),
                    "write the PIN into it",
                )
            })?;
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        PinSource::Inline(pin) => Ok(pin.clone()),
        PinSource::Prompt => hsm_api::PinSource::Prompt("the gateway's security module".to_owned())
            .read()
            .map(|pin| pin.expose().to_owned())
            .map_err(|error| {
                missing(
                    format!("a person who knows the PIN ({error})"),
                    "without a terminal use pin = { env = … } or { file = … }",
                )
            }),
    }
}

fn token_config(module: &Path, label: &str, pin_file: &Path) -> TokenConfig {
    TokenConfig {
        module: module.to_owned(),
        token_label: label.to_owned(),
        pin_file: pin_file.to_owned(),
    }
}

/// Ten decimal digits, the length TR-03116-3 §10 asks of a module's PIN.
fn fresh_pin() -> std::io::Result<String> {
    use std::io::Read;
    let mut random = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(format!(
        "{:010}",
        u64::from_le_bytes(random) % 10_000_000_000
    ))
}
