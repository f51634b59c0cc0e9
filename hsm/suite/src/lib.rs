// SPDX-License-Identifier: MIT OR Apache-2.0
//! One suite for every security module: the promises of [`SecurityModule`], known answers, Google's Wycheproof
//! vectors, and endurance.
//!
//! Tests of back-ends and `smgw-bench hsm selftest` run the same [`Suite`]. It needs a second implementation to check
//! against, and removes what it makes.

mod checks;
pub mod conformance;
mod endurance;
mod known_answers;
mod report;
#[cfg(feature = "wycheproof")]
mod wycheproof;

pub use checks::Failure;
pub use conformance::Names;
pub use endurance::agreements;
pub use hsm_api::Import;
use hsm_api::{Curve, SecurityModule};
pub use report::{Outcome, Report, Row};

/// How much is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Effort {
    /// At most so many vectors of each Wycheproof set, evenly spread.
    pub vectors_per_set: usize,
    /// Agreements on brainpoolP512r1, where the points are that SoftHSM2 misreads in the wrong encoding.
    pub agreements: usize,
    /// Whether the module may be taken to the end of its life, after which it is of no use.
    pub end_of_life: bool,
}

impl Effort {
    /// Seconds on a token, minutes on a card.
    pub const QUICK: Self = Self {
        vectors_per_set: 25,
        agreements: 25,
        end_of_life: false,
    };
    /// Everything that leaves the module as it was.
    pub const FULL: Self = Self {
        vectors_per_set: usize::MAX,
        agreements: 10_000,
        end_of_life: false,
    };
}

/// A module, and what it is checked with.
#[derive(Clone, Copy)]
pub struct Suite<'a> {
    /// The module in question.
    pub module: &'a dyn SecurityModule,
    /// Another implementation. Its keys are named like those of the module, so the two must not share storage.
    pub oracle: &'a dyn SecurityModule,
    /// The way to give the module private keys, where it has one.
    pub import: Option<&'a dyn Import>,
    /// Names of the keys and objects that are made and removed.
    pub names: &'a Names,
    /// How much to run.
    pub effort: Effort,
}

impl Suite<'_> {
    /// Runs everything; `each` gets every row as soon as it is there.
    pub fn run(&self, mut each: impl FnMut(&Row)) -> Report {
        let mut report = Report::default();
        let mut row = |name: String, outcome: Outcome| {
            let row = Row { name, outcome };
            each(&row);
            report.rows.push(row);
        };
        for curve in Curve::ALL {
            let parts: [(&str, &dyn Fn() -> Outcome); 4] = [
                ("promises", &|| {
                    conformance::of_curve(self.module, self.oracle, curve, self.names).into()
                }),
                ("known answers", &|| self.known_answers(curve)),
                ("Wycheproof ECDSA", &|| self.wycheproof_signatures(curve)),
                ("Wycheproof ECDH", &|| self.wycheproof_agreements(curve)),
            ];
            for (part, outcome) in parts {
                row(format!("{part}, {curve}"), self.on(curve, outcome));
            }
        }
        let curve = Curve::BrainpoolP512r1;
        let endurance =
            || agreements(self.module, self.oracle, curve, self.effort.agreements).into();
        row(format!("endurance, {curve}"), self.on(curve, &endurance));
        let storage = conformance::of_storage(self.module, self.names);
        row("objects and removal".into(), storage.into());
        let life_cycle = if self.effort.end_of_life {
            conformance::of_life_cycle(self.module, self.names).into()
        } else {
            Outcome::NotRun("it ends the module's life".into())
        };
        row("life cycle".into(), life_cycle);
        report
    }

    /// Runs a part whose curve both sides know.
    fn on(&self, curve: Curve, part: &dyn Fn() -> Outcome) -> Outcome {
        for (side, name) in [(self.module, "module"), (self.oracle, "oracle")] {
            if !side.capabilities().curves.contains(&curve) {
                return Outcome::NotRun(format!("the {name} does not know the curve"));
            }
        }
        part()
    }

    fn known_answers(&self, curve: Curve) -> Outcome {
        match known_answers::of_curve(self.module, self.import, curve, self.names) {
            // Of some curves only agreements are known.
            Ok(0) => Outcome::NotRun(NO_IMPORT.into()),
            result => result.into(),
        }
    }

    #[cfg(feature = "wycheproof")]
    fn wycheproof_signatures(&self, curve: Curve) -> Outcome {
        wycheproof::signatures(self.module, curve, self.effort.vectors_per_set).into()
    }

    #[cfg(feature = "wycheproof")]
    fn wycheproof_agreements(&self, curve: Curve) -> Outcome {
        let Some(import) = self.import else {
            return Outcome::NotRun(NO_IMPORT.into());
        };
        let (key, limit) = (&self.names.agree, self.effort.vectors_per_set);
        wycheproof::agreements(self.module, import, key, curve, limit).into()
    }

    #[cfg(not(feature = "wycheproof"))]
    fn wycheproof_signatures(&self, _: Curve) -> Outcome {
        Outcome::NotRun("this program was built without the vectors".into())
    }

    #[cfg(not(feature = "wycheproof"))]
    fn wycheproof_agreements(&self, curve: Curve) -> Outcome {
        self.wycheproof_signatures(curve)
    }
}

const NO_IMPORT: &str = "the module takes no given private keys";
