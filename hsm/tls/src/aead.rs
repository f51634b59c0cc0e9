// SPDX-License-Identifier: MIT OR Apache-2.0
//! Record protection by ciphers with authentication in Rust alone: CCM, which TR-03116-3 §5 demands in the HAN and *ring*
//! does not have, and GCM for where there is no *ring*.

use alloc::boxed::Box;
use core::marker::PhantomData;

use aes::Aes128;
use ccm::aead::inout::InOutBuf;
use ccm::aead::{AeadInOut, KeyInit, Tag};
use ccm::consts::{U12, U16};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError, make_tls12_aad,
    make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};

/// AES-128-CCM with a tag of 16 bytes (RFC 8446 appendix B.4).
pub(crate) type Aes128Ccm = ccm::Ccm<Aes128, U16, U12>;

/// What the ciphers here have in common: a nonce of 12 bytes, a tag of 16.
pub(crate) trait Cipher:
    AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit + Send + Sync + 'static
{
}

impl Cipher for Aes128Ccm {}
impl Cipher for aes_gcm::Aes128Gcm {}
impl Cipher for aes_gcm::Aes256Gcm {}

/// Records of TLS 1.3 (RFC 8446 §5.2).
pub(crate) struct Tls13<C>(PhantomData<fn() -> C>);

/// Records of TLS 1.2 (RFC 5288 §3): the sequence number, masked, is the explicit half of the nonce.
pub(crate) struct Tls12<C>(PhantomData<fn() -> C>);

impl<C> Tls13<C> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<C> Tls12<C> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<C: Cipher> Tls13AeadAlgorithm for Tls13<C> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Tls13Records::<C>::new(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Tls13Records::<C>::new(&key, iv))
    }

    fn key_len(&self) -> usize {
        C::key_size()
    }

    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// One direction of TLS 1.3.
struct Tls13Records<C> {
    cipher: C,
    iv: Iv,
}

impl<C: Cipher> Tls13Records<C> {
    fn new(key: &AeadKey, iv: Iv) -> Self {
        let cipher = keyed(key);
        Self { cipher, iv }
    }
}

impl<C: Cipher> MessageEncrypter for Tls13Records<C> {
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
        let head = make_tls13_aad(total);
        let tag = seal(&self.cipher, nonce, &head, payload.as_mut())?;
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

impl<C: Cipher> MessageDecrypter for Tls13Records<C> {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let nonce = Nonce::new(&self.iv, sequence).0;
        let head = make_tls13_aad(message.payload.len());
        let plain = open(&self.cipher, nonce, &head, &mut message.payload)?;
        message.payload.truncate(plain);
        message.into_tls13_unpadded_message()
    }
}

impl<C: Cipher> Tls12AeadAlgorithm for Tls12<C> {
    fn encrypter(&self, key: AeadKey, salt: &[u8], mask: &[u8]) -> Box<dyn MessageEncrypter> {
        let mut iv = [0; SALT + EXPLICIT];
        iv.iter_mut()
            .zip(salt.iter().chain(mask))
            .for_each(|(to, from)| *to = *from);
        Box::new(Tls12Writer::<C> {
            cipher: keyed(&key),
            iv: Iv::new(iv),
        })
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        let mut salt = [0; SALT];
        salt.iter_mut().zip(iv).for_each(|(to, from)| *to = *from);
        Box::new(Tls12Reader::<C> {
            cipher: keyed(&key),
            salt,
        })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape {
            enc_key_len: C::key_size(),
            fixed_iv_len: SALT,
            explicit_nonce_len: EXPLICIT,
        }
    }

    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: &[u8],
        _explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct Tls12Writer<C> {
    cipher: C,
    iv: Iv,
}

impl<C: Cipher> MessageEncrypter for Tls12Writer<C> {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let plain = message.payload.len();
        let nonce = Nonce::new(&self.iv, sequence).0;
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(plain));
        let (_, explicit) = nonce.split_at(SALT);
        payload.extend_from_slice(explicit);
        payload.extend_from_chunks(&message.payload);
        let head = make_tls12_aad(sequence, message.typ, message.version, plain);
        let (_, text) = payload.as_mut().split_at_mut(EXPLICIT);
        let tag = seal(&self.cipher, nonce, &head, text)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(
            message.typ,
            message.version,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, plain: usize) -> usize {
        EXPLICIT + plain + TAG
    }
}

struct Tls12Reader<C> {
    cipher: C,
    salt: [u8; SALT],
}

impl<C: Cipher> MessageDecrypter for Tls12Reader<C> {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let (explicit, sealed) = message
            .payload
            .split_first_chunk_mut::<EXPLICIT>()
            .ok_or(Error::DecryptError)?;
        let mut nonce = [0; SALT + EXPLICIT];
        nonce
            .iter_mut()
            .zip(self.salt.iter().chain(explicit.iter()))
            .for_each(|(to, from)| *to = *from);
        let plain = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let head = make_tls12_aad(sequence, message.typ, message.version, plain);
        open(&self.cipher, nonce, &head, sealed)?;
        if plain > LONGEST_PAYLOAD {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(EXPLICIT..EXPLICIT + plain))
    }
}

fn keyed<C: Cipher>(key: &AeadKey) -> C {
    C::new_from_slice(key.as_ref()).expect("the key has the length asked for")
}

fn seal<C: Cipher>(
    cipher: &C,
    nonce: [u8; SALT + EXPLICIT],
    head: &[u8],
    text: &mut [u8],
) -> Result<Tag<C>, Error> {
    cipher
        .encrypt_inout_detached(&nonce.into(), head, InOutBuf::from(text))
        .map_err(|_| Error::EncryptError)
}

/// Decrypts in place; the text is so many bytes at the front.
fn open<C: Cipher>(
    cipher: &C,
    nonce: [u8; SALT + EXPLICIT],
    head: &[u8],
    sealed: &mut [u8],
) -> Result<usize, Error> {
    let plain = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
    let (text, tag) = sealed
        .split_at_mut_checked(plain)
        .ok_or(Error::DecryptError)?;
    let tag = (&*tag).try_into().map_err(|_| Error::DecryptError)?;
    cipher
        .decrypt_inout_detached(&nonce.into(), head, InOutBuf::from(text), tag)
        .map_err(|_| Error::DecryptError)?;
    Ok(plain)
}

/// Bytes of the tag.
const TAG: usize = 16;
/// Bytes of a TLS 1.2 nonce that both sides know.
const SALT: usize = 4;
/// Bytes of a TLS 1.2 nonce that each record shows.
const EXPLICIT: usize = 8;
/// RFC 5246 §6.2.1.
const LONGEST_PAYLOAD: usize = 1 << 14;
