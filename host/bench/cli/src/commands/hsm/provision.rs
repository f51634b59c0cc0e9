// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm provision`: keys made inside the module, and certificates for them: one self-signed, or those of a partner of
//! a test PKI. A test PKI's own keys are made in memory and forgotten, so that nobody can extend it later.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use bench_cases::module_tool::{Provisioned, hex};
use bench_engine::ExitCode;
use hsm_api::{Curve, KeyId, KeyUsage, LifeCycle, ObjectId, Reason, SecurityModule};
use hsm_pki::{
    CertificateRequest, Generation, Issued, Partner, PkiError, Purpose, Role, Setting, TestPki,
    key_name, to_pem,
};
use hsm_soft::SoftModule;
use serde::Serialize;

use super::args::ProvisionArgs;
use super::failed;
use crate::failure::{Failure, print_json, print_json_line};

/// Runs the verb.
pub fn run(arguments: &ProvisionArgs) -> Result<ExitCode, Failure> {
    let partners = &arguments.role;
    match (arguments.pki, &arguments.output) {
        (Some(GenerationOption(generation)), Some(output)) => {
            let module = arguments.at.open(Some(1))?;
            let manifest = of_pki(module.as_ref(), generation, partners, output)?;
            print_json(&manifest)
        }
        _ => self_signed(arguments),
    }
}

fn self_signed(arguments: &ProvisionArgs) -> Result<ExitCode, Failure> {
    let (Some(key), Some(common_name)) = (&arguments.key, &arguments.common_name) else {
        return Err(Failure::with_help(
            ExitCode::Usage,
            "it is not said which key and whose certificate to make",
            "give --key NAME and --common-name NAME, or --pki GENERATION with --role ROLE=NAME and --output DIR",
        ));
    };
    let module = arguments.at.open(Some(1))?;
    let module = module.as_ref();
    let key = KeyId(key.clone());
    // A key that is there already is used as it is: a real token keeps its key over many runs.
    let public = match module.public_key(&key) {
        Ok(public) => public,
        Err(error) if error.reason() == Reason::NotFound => module
            .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
            .map_err(failed)?,
        Err(error) => return Err(failed(error)),
    };
    let request = CertificateRequest::new(common_name);
    let certificate = hsm_pki::self_signed(module, &key, &request).map_err(refused)?;
    print_json_line(&Provisioned {
        point: hex(&public.point),
        certificate: to_pem(&certificate),
    })
}

/// What was made and where it is; also written to `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Manifest {
    schema: &'static str,
    generation: String,
    /// The PKI's own certificates, the root first.
    authorities: Vec<Entry>,
    /// Certificates of the partners; the file holds the chain without the root.
    partners: Vec<Entry>,
    /// Empty lists, DER.
    revocation_lists: [&'static str; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    profile: String,
    /// The key in the partner's module, and the name of the certificate there.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    file: String,
}

const ROOT_LIST: &str = "root.crl";
const SUB_CA_LIST: &str = "sub-ca.crl";

fn of_pki(
    module: &dyn SecurityModule,
    generation: Generation,
    partners: &[PartnerOption],
    output: &Path,
) -> Result<Manifest, Failure> {
    require_room(module, partners)?;
    fs::create_dir_all(output).map_err(|error| unwritable(output, &error))?;
    let pki =
        TestPki::new(Arc::new(SoftModule::new()), Setting::new(generation)).map_err(refused)?;
    let write = |name: &str, content: &[u8]| {
        let path = output.join(name);
        fs::write(&path, content).map_err(|error| unwritable(&path, &error))
    };
    let mut authorities = Vec::new();
    for authority in pki.authorities() {
        let file = format!("{}.pem", authority.profile);
        write(&file, to_pem(authority.certificate()).as_bytes())?;
        authorities.push(Entry {
            profile: authority.profile.to_string(),
            key: None,
            file,
        });
    }
    let root_list = pki.root_list(&pki.empty_root_list()).map_err(refused)?;
    write(ROOT_LIST, &root_list)?;
    let sub_ca_list = pki.sub_ca_list(&pki.empty_sub_ca_list()).map_err(refused)?;
    write(SUB_CA_LIST, &sub_ca_list)?;
    let mut issued = Vec::new();
    for PartnerOption(partner) in partners {
        for one in pki.issue(partner, module).map_err(refused)?.iter() {
            let object = ObjectId::certificate(one.key.0.clone());
            module
                .write_object(&object, one.certificate())
                .map_err(failed)?;
            let file = format!("{}.pem", one.key);
            write(&file, chain(one).as_bytes())?;
            issued.push(Entry {
                profile: one.profile.to_string(),
                key: Some(one.key.0.clone()),
                file,
            });
        }
    }
    let manifest = Manifest {
        schema: "smgw-bench.pki/1",
        generation: generation.to_string(),
        authorities,
        partners: issued,
        revocation_lists: [ROOT_LIST, SUB_CA_LIST],
    };
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| Failure::new(ExitCode::Internal, error.to_string()))?;
    write("manifest.json", text.as_bytes())?;
    Ok(manifest)
}

/// Nothing is made when something of it is there already, or when the module's phase forbids it.
fn require_room(module: &dyn SecurityModule, partners: &[PartnerOption]) -> Result<(), Failure> {
    let phase = module.life_cycle().map_err(failed)?;
    if phase == LifeCycle::Decommissioned {
        return Err(Failure::new(
            ExitCode::ResourceMissing,
            "the module is decommissioned; it makes no more keys",
        ));
    }
    let held = module.keys().map_err(failed)?;
    let wanted = partners
        .iter()
        .flat_map(|PartnerOption(partner)| Purpose::ALL.map(|purpose| key_name(partner, purpose)));
    for key in wanted {
        if held.iter().any(|info| info.key == key) {
            return Err(Failure::with_help(
                ExitCode::ResourceMissing,
                format!("the module has a key {key} already"),
                "choose another name, or remove the key with the tools of the module's maker",
            ));
        }
    }
    Ok(())
}

fn chain(issued: &Issued) -> String {
    issued.chain.iter().map(to_pem).collect()
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        ExitCode::Setup,
        format!("cannot write {}: {error}", path.display()),
    )
}

fn refused(error: PkiError) -> Failure {
    match error {
        PkiError::Module(error) => failed(error),
        other => Failure::new(ExitCode::ResourceMissing, other.to_string()),
    }
}

/// A generation as the command line says it.
#[derive(Clone, Copy, Debug)]
pub struct GenerationOption(pub Generation);

impl FromStr for GenerationOption {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Generation::ALL
            .into_iter()
            .find(|generation| generation.name() == text)
            .map(Self)
            .ok_or("there are the generations first and second")
    }
}

/// `ROLE=NAME`.
#[derive(Clone, Debug)]
pub struct PartnerOption(pub Partner);

impl FromStr for PartnerOption {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (word, name) = text
            .split_once('=')
            .filter(|(_, name)| !name.is_empty())
            .ok_or("write ROLE=NAME, for instance smgw=esmb0012345678 or emt=Example")?;
        ROLES
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, role)| Self(Partner::new(*role, name)))
            .ok_or("there are the roles smgw, smgw-g (seal of approval), gwa, gwh and emt")
    }
}

const ROLES: [(&str, Role); 5] = [
    ("smgw", Role::SmgwW),
    ("smgw-g", Role::SmgwG),
    ("gwa", Role::Gwa),
    ("gwh", Role::Gwh),
    ("emt", Role::Emt),
];
