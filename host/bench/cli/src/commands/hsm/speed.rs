// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm bench`: operations per second of a module, as its user sees them: driver and way to it included.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use bench_engine::ExitCode;
use hsm_api::{Curve, Fault, KeyId, KeyUsage, ModuleError, SecurityModule};
use serde::Serialize;

use super::args::{AnswerFormat, BenchArgs};
use super::failed;
use super::table::columns;
use crate::failure::{Failure, print_json};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Speed {
    operation: String,
    /// Per second, all threads together.
    rate: f64,
    /// How many were made.
    count: u64,
}

/// Runs the verb.
pub fn run(arguments: &BenchArgs) -> Result<ExitCode, Failure> {
    let threads = usize::from(arguments.threads);
    let module = arguments.at.open(Some(threads))?;
    let patience = Duration::from_secs_f64(arguments.seconds);
    let live = std::io::stderr().is_terminal();
    let mut speeds = Vec::new();
    measure_all(module.as_ref(), threads, patience, |speed| {
        if live {
            eprintln!("{:<28}{:>10.1} /s", speed.operation, speed.rate);
        }
        speeds.push(speed);
    })
    .map_err(failed)?;
    match arguments.format {
        AnswerFormat::Json => print_json(&serde_json::json!({
            "place": arguments.at.place()?.to_string(),
            "name": module.capabilities().name,
            "threads": threads,
            "rows": speeds,
        })),
        AnswerFormat::Table => {
            let rows: Vec<_> = speeds
                .iter()
                .map(|speed| {
                    let rate = format!("{:>9.1}", speed.rate);
                    [speed.operation.clone(), rate, format!("{:>7}", speed.count)]
                })
                .collect();
            print!(
                "{}",
                columns(["operation", " per second", "  count"], &rows)
            );
            Ok(ExitCode::Success)
        }
    }
}

fn measure_all(
    module: &dyn SecurityModule,
    threads: usize,
    patience: Duration,
    mut each: impl FnMut(Speed),
) -> Result<(), ModuleError> {
    let mut row = |operation: String, work: &(dyn Fn() -> Result<(), ModuleError> + Sync)| {
        each(measure(operation, threads, patience, work)?);
        Ok::<_, ModuleError>(())
    };
    row("random, 32 bytes".into(), &|| module.random(&mut [0; 32]))?;
    for curve in module.capabilities().curves {
        let key = SpeedKey::make(module, curve)?;
        let peer = module.public_key(&key.name)?;
        let digest = vec![0x5a; curve.field_len()];
        let sign = || module.sign_digest(&key.name, &digest).map(drop);
        row(format!("sign, {curve}"), &sign)?;
        let agree = || module.ephemeral_key(curve)?.agree(&peer.point).map(drop);
        row(format!("ECDH, {curve}"), &agree)?;
    }
    Ok(())
}

/// Repeats `work` on so many threads, once at least, until the time is over.
fn measure(
    operation: String,
    threads: usize,
    patience: Duration,
    work: &(dyn Fn() -> Result<(), ModuleError> + Sync),
) -> Result<Speed, ModuleError> {
    // Once to warm up, and to fail early.
    work()?;
    let begun = Instant::now();
    let repeat = || {
        let mut count = 0u64;
        loop {
            work()?;
            count += 1;
            if begun.elapsed() >= patience {
                return Ok::<_, ModuleError>(count);
            }
        }
    };
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(repeat)).collect();
        let ends = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(ModuleError::module("the driver broke down")))
        });
        ends.collect::<Result<Vec<_>, _>>()
    })?;
    let count = counts.iter().sum();
    Ok(Speed {
        operation,
        rate: count as f64 / begun.elapsed().as_secs_f64(),
        count,
    })
}

/// A key for the time of the measurement.
struct SpeedKey<'a> {
    module: &'a dyn SecurityModule,
    name: KeyId,
}

impl<'a> SpeedKey<'a> {
    fn make(module: &'a dyn SecurityModule, curve: Curve) -> Result<Self, ModuleError> {
        let name = KeyId::from("smgw-bench-speed");
        // One that an interrupted measurement left.
        match module.remove_key(&name) {
            Err(error) if error.fault() != Fault::Caller => return Err(error),
            _ => {}
        }
        module.generate_key(&name, curve, KeyUsage::Sign)?;
        Ok(Self { module, name })
    }
}

impl Drop for SpeedKey<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.module.remove_key(&self.name) {
            tracing::warn!(%error, key = %self.name, "the key of the measurement stays in the module");
        }
    }
}

#[cfg(test)]
mod tests {
    use hsm_soft::SoftModule;

    use super::*;

    #[test]
    fn every_operation_is_measured_and_no_key_stays() {
        let module = SoftModule::new();
        let mut speeds = Vec::new();
        let moment = Duration::from_millis(1);
        measure_all(&module, 2, moment, |speed| speeds.push(speed)).unwrap();
        assert_eq!(speeds.len(), 1 + 2 * Curve::ALL.len());
        // Each thread makes one at least.
        assert!(
            speeds
                .iter()
                .all(|speed| speed.count >= 2 && speed.rate > 0.0)
        );
        assert!(module.keys().unwrap().is_empty());
    }

    #[test]
    fn a_failing_operation_ends_the_measurement() {
        let failing = || Err(ModuleError::module("no"));
        assert!(measure("x".into(), 1, Duration::ZERO, &failing).is_err());
    }
}
