// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peer `openssl speed`: what the processor could do without any module.

use std::process::Command;

use hsm_api::Curve;

/// Signatures, verifications and agreements per second of processor time.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    pub sign: f64,
    pub verify: f64,
    pub agree: f64,
}

/// Runs `openssl speed` for a second per operation; `None` when it is not installed or does not know the curve.
pub fn speed(curve: Curve) -> Option<Speed> {
    let name = match curve {
        Curve::BrainpoolP256r1 => "brp256r1",
        Curve::BrainpoolP384r1 => "brp384r1",
        Curve::BrainpoolP512r1 => "brp512r1",
        Curve::NistP256 => "p256",
        Curve::NistP384 => "p384",
        _ => return None,
    };
    let output = Command::new("openssl")
        .args(["speed", "-mr", "-seconds", "1"])
        .args([format!("ecdsa{name}"), format!("ecdh{name}")])
        .output()
        .ok()?;
    of_report(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the report for machines: `+F4` lines have the rates of ECDSA, `+F5` lines that of ECDH.
fn of_report(report: &str) -> Option<Speed> {
    let rate = |kind: &str, field: usize| {
        let line = report.lines().find(|line| line.starts_with(kind))?;
        line.split(':').nth(field)?.trim().parse().ok()
    };
    Some(Speed {
        sign: rate("+F4:", 3)?,
        verify: rate("+F4:", 4)?,
        agree: rate("+F5:", 3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_for_machines_is_read() {
        let report = "+DTP:256:sign:ecdsa:1\n+F4:3:256:30584.848485:9851.612903\n+F5:3:256:12470.491803:0.000080\n";
        let speed = of_report(report).unwrap();
        assert_eq!((speed.sign, speed.verify), (30584.848485, 9851.612903));
        assert_eq!(speed.agree, 12470.491803);
        assert!(of_report("").is_none());
    }
}
