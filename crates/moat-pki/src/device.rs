//! Device certificates: 90 days, client authentication only.

use std::time::SystemTime;

use crate::index::{Kind, LockedIndex};
use crate::profile::{self, DEVICE_DAYS, whole_seconds};
use crate::{Authority, Issued, PkiError, check_device_name};

/// What to do about a certificate of the same device that is still valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse: the name may be a mistake.
    Refuse,
    /// Issue another one beside it, as a renewal does.
    Reissue,
}

impl Authority {
    /// Issues a certificate for the device `name`: P-256, SHA-256, CN = `name`, 90 days (never
    /// beyond the intermediate's end), client authentication.
    ///
    /// The index is locked meanwhile: commands and a running broker may all issue at once.
    ///
    /// # Errors
    /// [`PkiError::InvalidName`], [`PkiError::DuplicateDevice`] with [`Existing::Refuse`], and
    /// those of the index. After an error no certificate exists.
    pub fn device_certificate(
        &self,
        name: &str,
        now: SystemTime,
        existing: Existing,
    ) -> Result<Issued, PkiError> {
        check_device_name(name)?;
        let validity = self.leaf_validity(now, DEVICE_DAYS)?;
        let params = profile::device(&self.subject, name, validity)?;
        let mut index = LockedIndex::to_append(&self.index_path())?;
        if existing == Existing::Refuse
            && let Some(entry) = index.valid_device(name, whole_seconds(now)?)?
        {
            return Err(PkiError::DuplicateDevice {
                name: name.to_owned(),
                not_after: entry.not_after,
            });
        }
        self.issue(&mut index, &params, validity, name, Kind::Device)
    }
}
