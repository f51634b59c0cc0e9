// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw_apdu::{
    Command, Response, SecureChannel, SecureError, SessionKeys, describe, describe_response, tlv,
};

/// What was read is written back and read as the same, and can be described.
pub fn command(bytes: &[u8]) {
    if let Ok(command) = Command::decode(bytes) {
        let written = command.encode().expect("what was read can be written");
        assert!(written.len() <= bytes.len());
        assert_eq!(Command::decode(&written).as_ref(), Ok(&command));
        assert!(describe(&command).len() < 1000);
        if let Ok(response) = Response::decode(bytes) {
            assert!(describe_response(&command, &response).len() < 1000);
            assert_eq!(response.encode(), bytes);
        }
    }
}

/// The objects read are, written again, exactly the bytes they were read from.
pub fn objects(bytes: &[u8]) {
    let mut written = Vec::new();
    for object in tlv::objects(bytes) {
        let Ok(object) = object else {
            assert!(tlv::find(bytes, tlv::Tag(0x87)).is_err());
            break;
        };
        assert!(!format!("{object:?}").is_empty());
        tlv::put(&mut written, object.tag, object.value);
        assert!(bytes.starts_with(&written));
    }
}

/// The keys of the seeds.
pub fn keys() -> SessionKeys {
    SessionKeys::new([0x5a; 16], [0xa5; 16])
}

/// Whatever authenticates is what the other end would have sent; everything else ends the session. The first byte says
/// how many messages passed before and whether a command or an answer follows.
pub fn secure(bytes: &[u8]) {
    opens(bytes);
}

/// [`secure`], telling whether the message authenticated.
pub fn opens(bytes: &[u8]) -> bool {
    let Some((first, message)) = bytes.split_first() else {
        return false;
    };
    let channel = || SecureChannel::resume(keys(), u128::from(first >> 1));
    let (mut reader, mut writer) = (channel(), channel());
    let failed = match first & 1 {
        0 => Command::decode(message).ok().and_then(|sent| {
            let opened = reader.open_command(&sent);
            opened
                .map(|opened| {
                    let again = writer.protect_command(&opened).expect("opened before");
                    assert_eq!(again.header(), sent.header());
                    // The expected length has two forms up to 256, all else has one.
                    let two_forms = opened.expected.is_some_and(|most| most <= 256);
                    assert!(again.data == sent.data || two_forms);
                })
                .err()
        }),
        _ => Response::decode(message).ok().and_then(|sent| {
            let opened = reader.open_response(&sent);
            opened
                .map(|opened| {
                    let again = writer.protect_response(&opened).expect("opened before");
                    assert_eq!(again, sent);
                })
                .err()
        }),
    };
    if let Some(failed) = failed {
        assert!(!reader.is_open());
        assert_ne!(failed, SecureError::TooLong);
        assert!(!failed.status().is_ok());
    }
    // One message more has passed if it was read at all and nothing failed.
    failed.is_none() && reader.counter() > u128::from(first >> 1)
}
