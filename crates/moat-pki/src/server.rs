//! The server's certificate: one year, renewed before its end and when the host's names change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::facts::{self, Facts};
use crate::index::{Kind, LockedIndex};
use crate::placing::{self, CERTIFICATE_MODE, KEY_MODE};
use crate::profile::{self, SERVER_DAYS};
use crate::{Authority, Issued, PkiError, San};

/// Leaf and intermediate, in this order: what the TLS server sends.
const SERVER_CERTIFICATE_FILE: &str = "server.crt";
const SERVER_KEY_FILE: &str = "server.key";
const DAY: Duration = Duration::from_hours(24);

/// The server's certificate on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Leaf and intermediate, PEM.
    pub certificate: PathBuf,
    /// Private key, PKCS #8 PEM, mode 0600.
    pub key: PathBuf,
    /// Last moment of validity.
    pub not_after: SystemTime,
    /// Why it was issued by this very call; `None` if it was good already.
    pub renewed: Option<RenewReason>,
}

/// Why a server certificate was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewReason {
    /// There was none, or its key was missing.
    Absent,
    /// It ended, or its end was near.
    NearExpiry,
    /// It was made for other names or addresses.
    NamesChanged,
    /// A crash came between writing the key and writing the certificate.
    KeyMismatch,
}

impl fmt::Display for RenewReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "there was none",
            Self::NearExpiry => "its end was near",
            Self::NamesChanged => "the host's names or addresses changed",
            Self::KeyMismatch => "its key did not fit",
        })
    }
}

impl Authority {
    /// Issues a server certificate for `names` without writing it to the folder.
    ///
    /// # Errors
    /// [`PkiError::NoNames`], [`PkiError::TooManyNames`], [`PkiError::InvalidHostName`] and those
    /// of the index.
    pub fn server_certificate(&self, names: &[San], now: SystemTime) -> Result<Issued, PkiError> {
        profile::check_names(names)?;
        self.issue_server(&mut LockedIndex::to_append(&self.index_path())?, names, now)
    }

    /// Makes sure that `server.crt` and `server.key` in the authority's folder are good for
    /// `names` and for `renew_before_days` more days, and issues them anew if they are not.
    ///
    /// # Errors
    /// As [`Self::server_certificate`]; [`PkiError::KeyPermissions`] for a key others can read;
    /// [`PkiError::ForeignServerCertificate`] for a certificate this authority did not issue, which is never
    /// overwritten.
    pub fn ensure_server_certificate(
        &self,
        names: &[San],
        now: SystemTime,
        renew_before_days: u64,
    ) -> Result<ServerFiles, PkiError> {
        profile::check_names(names)?;
        let certificate = self.folder.join(SERVER_CERTIFICATE_FILE);
        let key = self.folder.join(SERVER_KEY_FILE);
        // The lock covers the look as well: two starts must not both renew.
        let mut index = LockedIndex::to_append(&self.index_path())?;
        let state = self.server_state(&certificate, &key, names, now, renew_before_days)?;
        let reason = match state {
            Ok(not_after) => {
                return Ok(ServerFiles {
                    certificate,
                    key,
                    not_after,
                    renewed: None,
                });
            }
            Err(reason) => reason,
        };
        let issued = self.issue_server(&mut index, names, now)?;
        placing::replace(&key, issued.key_pem.as_bytes(), KEY_MODE)?;
        placing::replace(
            &certificate,
            issued.cert_chain_pem.as_bytes(),
            CERTIFICATE_MODE,
        )?;
        Ok(ServerFiles {
            certificate,
            key,
            not_after: issued.not_after,
            renewed: Some(reason),
        })
    }

    fn issue_server(
        &self,
        index: &mut LockedIndex,
        names: &[San],
        now: SystemTime,
    ) -> Result<Issued, PkiError> {
        let validity = self.leaf_validity(now, SERVER_DAYS)?;
        let params = profile::server(&self.subject, names, validity)?;
        self.issue(
            index,
            &params,
            validity,
            profile::server_common_name(names),
            Kind::Server,
        )
    }

    /// The end of the certificate on disk if it is good, else why it must be issued.
    fn server_state(
        &self,
        certificate: &Path,
        key: &Path,
        names: &[San],
        now: SystemTime,
        renew_before_days: u64,
    ) -> Result<Result<SystemTime, RenewReason>, PkiError> {
        if !certificate.exists() {
            return Ok(Err(RenewReason::Absent));
        }
        let leaf = facts::read_certificate(certificate)?;
        if !facts::is_signed_by(&leaf, &self.intermediate, certificate)? {
            return Err(PkiError::ForeignServerCertificate {
                path: certificate.to_path_buf(),
            });
        }
        if !key.exists() {
            return Ok(Err(RenewReason::Absent));
        }
        let facts = Facts::of(&leaf, certificate)?;
        if !facts.belongs_to(&facts::read_key(key)?) {
            return Ok(Err(RenewReason::KeyMismatch));
        }
        let margin = DAY.saturating_mul(u32::try_from(renew_before_days).unwrap_or(u32::MAX));
        // A leaf that already ends with its issuer gains nothing from being issued again.
        let at_issuers_end = facts.validity.not_after >= self.intermediate_not_after()
            && facts.validity.not_after > now;
        let near = now
            .checked_add(margin)
            .is_none_or(|soon| soon >= facts.validity.not_after);
        if near && !at_issuers_end {
            return Ok(Err(RenewReason::NearExpiry));
        }
        let mut wanted = names.to_vec();
        wanted.sort();
        wanted.dedup();
        if wanted != facts.sans {
            return Ok(Err(RenewReason::NamesChanged));
        }
        Ok(Ok(facts.validity.not_after))
    }
}
