// SPDX-License-Identifier: MIT OR Apache-2.0
//! JSON Schemas of the files, for editors and other tools. The committed ones in `rigs/schema/` are compared with these by a test.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::assumptions::AssumptionsFile;
use crate::ics::IcsFile;
use crate::plan::Plan;
use crate::resource;
use crate::rig::{Clock, Metering, RIG_SCHEMA, RigSection};
use crate::role::{
    ClsSection, ConsumerSection, EmtSection, GatewaySection, MeterSection, SecurityModuleSection,
    TechnicianSection, TimeServerSection,
};

/// Any resource; one alternative for each kind.
struct AnyResource;

impl JsonSchema for AnyResource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Resource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        resource::schema(generator)
    }
}

/// A rig file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Rig")]
#[expect(dead_code, reason = "describes the file")]
struct RigFile {
    #[schemars(extend("const" = RIG_SCHEMA))]
    schema: String,
    rig: RigSection,
    clock: Option<Clock>,
    metering: Option<Metering>,
    /// How to reach things.
    #[schemars(default)]
    resource: BTreeMap<String, AnyResource>,
    role: Roles,
}

/// Who plays what.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "describes the file")]
struct Roles {
    #[schemars(default)]
    meter: BTreeMap<String, MeterSection>,
    gateway: Option<GatewaySection>,
    security_module: Option<SecurityModuleSection>,
    #[schemars(default)]
    emt: BTreeMap<String, EmtSection>,
    #[schemars(default)]
    cls: BTreeMap<String, ClsSection>,
    #[schemars(default)]
    consumer: BTreeMap<String, ConsumerSection>,
    #[schemars(default)]
    technician: BTreeMap<String, TechnicianSection>,
    time_server: Option<TimeServerSection>,
}

/// The files that have a schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum File {
    /// Rig file.
    Rig,
    /// Conformance statement.
    Ics,
    /// Assumptions file.
    Assumptions,
    /// Plan lock file.
    Plan,
}

impl File {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rig, Self::Ics, Self::Assumptions, Self::Plan];

    /// Name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rig => "rig",
            Self::Ics => "ics",
            Self::Assumptions => "assumptions",
            Self::Plan => "plan",
        }
    }

    /// Name of the committed schema in `rigs/schema/`, with the version of the format.
    pub fn file_name(self) -> String {
        format!("{}-1.json", self.as_str())
    }

    /// The schema as JSON text, ending with a newline.
    pub fn json_schema(self) -> String {
        let generator = || SchemaSettings::draft2020_12().into_generator();
        let schema = match self {
            Self::Rig => generator().into_root_schema_for::<RigFile>(),
            Self::Ics => generator().into_root_schema_for::<IcsFile>(),
            Self::Assumptions => generator().into_root_schema_for::<AssumptionsFile>(),
            Self::Plan => generator().into_root_schema_for::<Plan>(),
        };
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
        text.push('\n');
        text
    }
}
