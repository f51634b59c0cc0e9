// SPDX-License-Identifier: MIT OR Apache-2.0
//! `TLS_AES_128_CCM_SHA256` (RFC 8446 appendix B.4), which TR-03116-3 §5 demands in the HAN and *ring* does not have.

use aes::Aes128;
use ccm::aead::inout::InOutBuf;
use ccm::aead::{AeadInOut, KeyInit};
use ccm::consts::{U12, U16};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};

type Cipher = ccm::Ccm<Aes128, U16, U12>;

/// AES-128-CCM with a tag of 16 bytes.
#[derive(Debug)]
pub(crate) struct Aes128Ccm;

impl Tls13AeadAlgorithm for Aes128Ccm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Protection::new(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Protection::new(&key, iv))
    }

    fn key_len(&self) -> usize {
        16
    }

    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// Records of one direction (RFC 8446 §5.2).
struct Protection {
    cipher: Cipher,
    iv: Iv,
}

impl Protection {
    fn new(key: &AeadKey, iv: Iv) -> Self {
        let cipher =
            Cipher::new_from_slice(key.as_ref()).expect("the key has the length asked for");
        Self { cipher, iv }
    }
}

impl MessageEncrypter for Protection {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let total = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(total);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&[message.typ.into()]);
        let nonce = Nonce::new(&self.iv, sequence).0;
        let tag = self
            .cipher
            .encrypt_inout_detached(
                &nonce.into(),
                &make_tls13_aad(total),
                InOutBuf::from(payload.as_mut()),
            )
            .map_err(|_| Error::EncryptError)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(
            ContentType::ApplicationData,
            // The version field of TLS 1.3 records (RFC 8446 §5.2).
            ProtocolVersion::TLSv1_2,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, plain: usize) -> usize {
        plain + 1 + TAG
    }
}

impl MessageDecrypter for Protection {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let total = message.payload.len();
        let plain = total.checked_sub(TAG).ok_or(Error::DecryptError)?;
        let (text, tag) = message
            .payload
            .split_at_mut_checked(plain)
            .ok_or(Error::DecryptError)?;
        let tag = (&*tag).try_into().map_err(|_| Error::DecryptError)?;
        let nonce = Nonce::new(&self.iv, sequence).0;
        self.cipher
            .decrypt_inout_detached(
                &nonce.into(),
                &make_tls13_aad(total),
                InOutBuf::from(text),
                tag,
            )
            .map_err(|_| Error::DecryptError)?;
        message.payload.truncate(plain);
        message.into_tls13_unpadded_message()
    }
}

/// Bytes of the tag.
const TAG: usize = 16;
