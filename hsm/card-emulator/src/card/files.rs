// SPDX-License-Identifier: MIT OR Apache-2.0
//! Applications and transparent elementary files (ISO/IEC 7816-4 §11.2 and §11.3). A file has a fixed size and is full of
//! zeros where nothing was written.

use hsm_api::LifeCycle;
use hsm_card::profile::FileId;
use smgw_apdu::{Command, Response, StatusWord};

use super::{Card, Outcome, SHORT_EXPECTED, offset};

impl Card {
    pub(super) fn select_application(&mut self, name: &[u8]) -> Outcome {
        match name == self.profile.application.id {
            true => Ok(Vec::new()),
            false => Err(StatusWord::FILE_NOT_FOUND),
        }
    }

    pub(super) fn select_file(&mut self, id: &[u8]) -> Outcome {
        let id: [u8; 2] = id.try_into().map_err(|_| StatusWord::WRONG_DATA)?;
        let id = FileId::from_be_bytes(id);
        if self.profile.all_files().all(|file| file != id) {
            return Err(StatusWord::FILE_NOT_FOUND);
        }
        self.session()?.file = Some(id);
        Ok(Vec::new())
    }

    /// Gives what there is from the offset on: with fewer bytes than expected and 6282 at the end of the file.
    pub(super) fn read_binary(&mut self, command: &Command) -> Result<Response, StatusWord> {
        let file = self.session()?.file.ok_or(StatusWord::NO_CURRENT_FILE)?;
        let content = self.content(file);
        let rest = content
            .get(offset(command)..)
            .filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(StatusWord::BEYOND_FILE)?;
        let expected = command.expected.ok_or(StatusWord::WRONG_LENGTH)?;
        // The largest length of either form stands for all there is.
        let all = expected == SHORT_EXPECTED || expected == Command::MOST_EXPECTED;
        let most = usize::try_from(expected).unwrap_or(usize::MAX);
        let most = if all { most.min(self.chunk()) } else { most };
        if most > self.chunk() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let data = rest.get(..most).unwrap_or(rest);
        let short = data.len() < most && !all;
        let status = if short {
            StatusWord::END_OF_FILE
        } else {
            StatusWord::OK
        };
        Ok(Response::new(data, status))
    }

    pub(super) fn update_binary(&mut self, offset: usize, data: &[u8]) -> Outcome {
        let file = self.session()?.file.ok_or(StatusWord::NO_CURRENT_FILE)?;
        let size = self.size(file).ok_or(StatusWord::SECURITY_STATUS)?;
        if data.is_empty() || data.len() > self.chunk() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let end = offset + data.len();
        if end > size {
            return Err(StatusWord::NO_SPACE);
        }
        self.change(|state| {
            let content = state.files.entry(file).or_default();
            if content.len() < end {
                content.resize(end, 0);
            }
            if let Some(place) = content.get_mut(offset..end) {
                place.copy_from_slice(data);
            }
        })?;
        Ok(Vec::new())
    }

    /// What reading a file gives.
    pub(super) fn content(&self, file: FileId) -> Vec<u8> {
        let files = &self.profile.files;
        if file == files.card_access {
            return hsm_card::pace::card_access();
        }
        if file == files.life_cycle {
            let place = LifeCycle::ALL
                .iter()
                .position(|one| *one == self.state.phase);
            return place
                .and_then(|place| u8::try_from(place).ok())
                .into_iter()
                .collect();
        }
        let mut content = self.state.files.get(&file).cloned().unwrap_or_default();
        content.resize(self.size(file).unwrap_or_default(), 0);
        content
    }

    /// The size of a file that can be written.
    fn size(&self, file: FileId) -> Option<usize> {
        let files = &self.profile.files;
        let size = if files.directory.contains(&file) {
            files.directory_size
        } else if self.profile.object_files().any(|one| one == file) {
            files.object_size
        } else {
            return None;
        };
        Some(usize::from(size))
    }

    /// The most bytes read, written or drawn at once.
    pub(super) fn chunk(&self) -> usize {
        usize::from(self.profile.limits.chunk)
    }
}
