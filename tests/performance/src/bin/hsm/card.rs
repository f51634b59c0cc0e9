// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulated card behind a pcscd of its own: commands, channels and the module on top of them, by elapsed time, since
//! the work is done in other processes.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hsm_api::{Curve, Pin, SecurityModule};
use hsm_card::profile::Instruction;
use hsm_card::{CardModule, CardOptions, CardProfile, CardSession, PcscReader};
use hsm_card_emulator::pcscd::{Pcscd, READERS};
use hsm_card_emulator::process::CardProcess;
use smgw_performance::{Report, Rounds};

use crate::{Keys, Outcome, PIN, Pass, alone_elapsed};

/// A card without latency of its own, in the first reader; it lives as long as both of these.
pub fn start(dir: &Path) -> Result<(Pcscd, CardProcess), String> {
    let pin = dir.join("pin");
    fs::write(&pin, PIN).map_err(|error| error.to_string())?;
    let pcscd = Pcscd::start().map_err(|error| error.to_string())?;
    let options = ["--pin-file".as_ref(), pin.as_os_str()];
    let card = CardProcess::start(&pcscd, 0, options).map_err(|error| error.to_string())?;
    Ok((pcscd, card))
}

/// Measures the card in the first reader and gives it as a module.
pub fn measure(report: &mut Report, rounds: Rounds) -> Outcome<Arc<dyn SecurityModule>> {
    let pin = Pin::new(PIN);
    channel(report, rounds, &pin)?;
    let reader = Box::new(PcscReader::new(READERS[0]));
    let module = CardModule::open(reader, pin, CardOptions::default())?;
    for curve in Curve::ALL {
        let keys = Keys::make(&module, curve)?;
        let parts: [(&str, Pass<'_>); 3] = [
            ("sign", &|| keys.sign()),
            ("ECDH", &|| keys.agree()),
            ("verify", &|| keys.verify()),
        ];
        for (operation, work) in parts {
            alone_elapsed(report, rounds, &format!("{operation} {curve}, card"), work);
        }
        keys.remove()?;
    }
    Ok(Arc::new(module))
}

/// Commands in the clear and in the channel, and the channel itself.
fn channel(report: &mut Report, rounds: Rounds, pin: &Pin) -> Outcome<()> {
    let profile = Arc::new(CardProfile::tr03109_2_assumed());
    let select = profile
        .command(Instruction::SelectApplication)
        .with(profile.application.id.as_slice());
    let challenge = profile.command(Instruction::GetChallenge).expecting(8);
    let mut session = CardSession::new(Box::new(PcscReader::new(READERS[0])), profile);
    session.open(pin)?;
    let session = Mutex::new(session);
    let session = || session.lock().unwrap_or_else(PoisonError::into_inner);
    let parts: [(&str, Pass<'_>); 3] = [
        // First the one that needs the channel that is open.
        ("APDU in the channel, card", &|| {
            let answer = session().exchange_protected(&challenge);
            assert!(answer.expect("an answer").status.is_ok());
        }),
        ("APDU in the clear, card", &|| {
            let answer = session().exchange_plain(&select);
            assert!(answer.expect("an answer").status.is_ok());
        }),
        ("PACE with reset and selection, card", &|| {
            session().open(pin).expect("a channel");
        }),
    ];
    for (metric, work) in parts {
        alone_elapsed(report, rounds, metric, work);
    }
    Ok(())
}
