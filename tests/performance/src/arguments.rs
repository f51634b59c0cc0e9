// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flags every benchmark has.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::compare::Rounds;

const FLAGS: &str = "
  --quick        a short run that only shows that it works
  --output FILE  where the figures go instead of target/bench/NAME.json
";

/// How a benchmark is to run.
#[derive(Debug)]
pub struct Arguments {
    /// How long to measure.
    pub rounds: Rounds,
    /// Where the report goes, when not to its usual place.
    pub output: Option<PathBuf>,
}

impl Arguments {
    /// Reads the flags of this process; `purpose` is the first line of its help.
    ///
    /// # Errors
    /// The exit code to end with, when help was asked for or a flag is wrong.
    pub fn of_process(purpose: &str) -> Result<Self, ExitCode> {
        let mut arguments = Self {
            rounds: Rounds::USUAL,
            output: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match (word.as_str(), words.len()) {
                ("--quick", _) => arguments.rounds = Rounds::QUICK,
                ("--output", 1..) => arguments.output = words.next().map(PathBuf::from),
                ("--help" | "-h", _) => {
                    print!("{purpose}{FLAGS}");
                    return Err(ExitCode::SUCCESS);
                }
                _ => {
                    eprint!("unexpected: {word}\n\n{purpose}{FLAGS}");
                    return Err(ExitCode::from(2));
                }
            }
        }
        Ok(arguments)
    }
}
