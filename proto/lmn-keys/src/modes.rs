// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modes of operation: CBC, CTR (SP 800-38A), CMAC (RFC 4493), CCM (SP 800-38C).

use aes::Aes128;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher};
use ccm::aead::AeadInOut;
use ccm::aead::array::ArraySize;
use ccm::consts::{U8, U12, U13, U16};
use ccm::{Ccm, TagSize};
use cmac::{Cmac, KeyInit, Mac};

use crate::{Error, Key};

/// Length of a CCM tag; TR-03116-3 allows these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CcmTag {
    /// 64 bits.
    Bytes8,
    /// 96 bits.
    Bytes12,
    /// 128 bits.
    Bytes16,
}

impl CcmTag {
    /// By the number of its bytes.
    pub const fn from_len(len: usize) -> Option<Self> {
        match len {
            8 => Some(Self::Bytes8),
            12 => Some(Self::Bytes12),
            16 => Some(Self::Bytes16),
            _ => None,
        }
    }

    /// Number of its bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bytes8 => 8,
            Self::Bytes12 => 12,
            Self::Bytes16 => 16,
        }
    }
}

impl Key {
    /// Encrypts whole blocks in place.
    ///
    /// # Errors
    /// [`Error::PartialBlock`], and `data` as it was.
    pub fn cbc_encrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), Error> {
        let mut mode = cbc::Encryptor::<Aes128>::new(self.expose().into(), iv.into());
        for block in whole_blocks(data)? {
            mode.encrypt_block(block.into());
        }
        Ok(())
    }

    /// Decrypts whole blocks in place.
    ///
    /// # Errors
    /// [`Error::PartialBlock`], and `data` as it was.
    pub fn cbc_decrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), Error> {
        let mut mode = cbc::Decryptor::<Aes128>::new(self.expose().into(), iv.into());
        for block in whole_blocks(data)? {
            mode.decrypt_block(block.into());
        }
        Ok(())
    }

    /// Encrypts or decrypts in place; `first` is the first counter block, counted up big endian.
    pub fn ctr(&self, first: &[u8; 16], data: &mut [u8]) {
        ctr::Ctr128BE::<Aes128>::new(self.expose().into(), first.into()).apply_keystream(data);
    }

    /// The full CMAC over `parts` one after the other; shorter ones are its first bytes.
    pub fn cmac(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.mac_of(parts).finalize().into_bytes().into()
    }

    /// Whether the CMAC over `parts` begins with `mac`, compared in constant time. An empty `mac` or
    /// one above 16 bytes is never right.
    pub fn verify_cmac(&self, parts: &[&[u8]], mac: &[u8]) -> bool {
        self.mac_of(parts).verify_truncated_left(mac).is_ok()
    }

    /// Encrypts `data` in place by CCM and returns the tag, of which the first
    /// [`CcmTag::bytes`] bytes count.
    ///
    /// # Errors
    /// [`Error::TooLong`] above 65535 bytes of data or 65279 of associated data.
    pub fn ccm_encrypt(
        &self,
        nonce: &[u8; 13],
        associated: &[u8],
        data: &mut [u8],
        tag: CcmTag,
    ) -> Result<[u8; 16], Error> {
        match tag {
            CcmTag::Bytes8 => seal::<U8>(self, nonce, associated, data),
            CcmTag::Bytes12 => seal::<U12>(self, nonce, associated, data),
            CcmTag::Bytes16 => seal::<U16>(self, nonce, associated, data),
        }
    }

    /// Decrypts `data` in place by CCM; the length of `tag` is that of [`CcmTag`].
    ///
    /// # Errors
    /// [`Error::Tag`]; `data` then is all zeros, so that nobody uses what was not authenticated.
    pub fn ccm_decrypt(
        &self,
        nonce: &[u8; 13],
        associated: &[u8],
        data: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Error> {
        let length = CcmTag::from_len(tag.len()).ok_or_else(|| {
            data.fill(0);
            Error::Tag
        })?;
        match length {
            CcmTag::Bytes8 => open::<U8>(self, nonce, associated, data, tag),
            CcmTag::Bytes12 => open::<U12>(self, nonce, associated, data, tag),
            CcmTag::Bytes16 => open::<U16>(self, nonce, associated, data, tag),
        }
    }

    fn mac_of(&self, parts: &[&[u8]]) -> Cmac<Aes128> {
        let mut mac = <Cmac<Aes128> as KeyInit>::new(self.expose().into());
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

fn whole_blocks(data: &mut [u8]) -> Result<&mut [[u8; 16]], Error> {
    match data.as_chunks_mut() {
        (blocks, []) => Ok(blocks),
        _ => Err(Error::PartialBlock),
    }
}

fn seal<T: TagSize + ArraySize>(
    key: &Key,
    nonce: &[u8; 13],
    associated: &[u8],
    data: &mut [u8],
) -> Result<[u8; 16], Error> {
    let tag = Ccm::<Aes128, T, U13>::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), associated, data.into())
        .map_err(|_| Error::TooLong)?;
    let mut padded = [0; 16];
    padded
        .iter_mut()
        .zip(&tag)
        .for_each(|(to, from)| *to = *from);
    Ok(padded)
}

fn open<T: TagSize + ArraySize>(
    key: &Key,
    nonce: &[u8; 13],
    associated: &[u8],
    data: &mut [u8],
    tag: &[u8],
) -> Result<(), Error> {
    let cipher = Ccm::<Aes128, T, U13>::new(key.expose().into());
    let tag = tag.try_into().map_err(|_| Error::Tag)?;
    cipher
        .decrypt_inout_detached(nonce.into(), associated, (&mut *data).into(), tag)
        .map_err(|_| {
            data.fill(0);
            Error::Tag
        })
}
