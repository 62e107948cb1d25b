//! The authority's folder: made once, opened at every start.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    Certificate, CertificateParams, Issuer, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::facts::{self, Facts, fingerprint, rfc3339};
use crate::index::{IndexEntry, Kind, LockedIndex};
use crate::placing::{self, CERTIFICATE_MODE, KEY_MODE, NewFolder};
use crate::profile::{self, Issued, SecretKey, Validity, hex, random_bytes};
use crate::{PkiError, SubjectTemplate};

/// The root under the name that devices get: what they pin.
pub const CA_FILE: &str = "ca.crt";
const ROOT_CERTIFICATE_FILE: &str = "root.crt";
const ROOT_KEY_FILE: &str = "root.key";
const INTERMEDIATE_CERTIFICATE_FILE: &str = "intermediate.crt";
const INTERMEDIATE_KEY_FILE: &str = "intermediate.key";
/// Intermediate, then root.
const CHAIN_FILE: &str = "chain.crt";
const INDEX_FILE: &str = "issued.jsonl";

/// A root and an intermediate that can sign server and device certificates.
///
/// Holds the intermediate's private key in memory until it is dropped; the root's key is only
/// used when the authority is created.
pub struct Authority {
    pub(crate) folder: PathBuf,
    pub(crate) subject: SubjectTemplate,
    root: CertificateDer<'static>,
    pub(crate) intermediate: CertificateDer<'static>,
    intermediate_key: SecretKey,
    intermediate_validity: Validity,
    root_pem: String,
    intermediate_pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority in `folder`, which must not exist or be empty; its parent must exist.
    ///
    /// All files are written into a folder beside it that is renamed at the end, so `folder` is
    /// complete or not there, also after a power cut or on a full disk.
    ///
    /// # Errors
    /// [`PkiError::AlreadyExists`], [`PkiError::DiskFull`], [`PkiError::InvalidSubject`],
    /// [`PkiError::ClockOutOfRange`] and failures of the file system.
    pub fn create(
        folder: &Path,
        now: SystemTime,
        subject: &SubjectTemplate,
    ) -> Result<Self, PkiError> {
        refuse_occupied(folder)?;
        // Two authorities made on two days must not share a name, or a verifier confuses them.
        let tag = hex(&random_bytes::<4>()?);
        let root_key = SecretKey::generate(&PKCS_ECDSA_P384_SHA384)?;
        let root_params = profile::root(subject, &tag, Validity::root(now)?)?;
        let root = root_params.self_signed(&root_key.0)?;
        let key = SecretKey::generate(&PKCS_ECDSA_P256_SHA256)?;
        let validity = Validity::intermediate(now)?;
        let params = profile::intermediate(subject, &tag, validity)?;
        let intermediate =
            params.signed_by(&key.0, &Issuer::from_params(&root_params, &root_key.0))?;

        let index = [
            entry(
                &root_params,
                &root,
                &format!("moat root CA {tag}"),
                Kind::Root,
            )?
            .line()?,
            entry(
                &params,
                &intermediate,
                &format!("moat intermediate CA {tag}"),
                Kind::Intermediate,
            )?
            .line()?,
        ];
        let (root_pem, intermediate_pem) = (certificate_pem(&root), certificate_pem(&intermediate));
        let chain = format!("{intermediate_pem}{root_pem}");
        let new = NewFolder::beside(folder)?;
        new.write(ROOT_KEY_FILE, root_key.pem().as_bytes(), KEY_MODE)?;
        new.write(INTERMEDIATE_KEY_FILE, key.pem().as_bytes(), KEY_MODE)?;
        new.write(ROOT_CERTIFICATE_FILE, root_pem.as_bytes(), CERTIFICATE_MODE)?;
        new.write(CA_FILE, root_pem.as_bytes(), CERTIFICATE_MODE)?;
        new.write(
            INTERMEDIATE_CERTIFICATE_FILE,
            intermediate_pem.as_bytes(),
            CERTIFICATE_MODE,
        )?;
        new.write(CHAIN_FILE, chain.as_bytes(), CERTIFICATE_MODE)?;
        new.write(INDEX_FILE, &index.concat(), KEY_MODE)?;
        new.publish()?;
        Self::open(folder, now)
    }

    /// Opens the authority in `folder` and checks it: keys private and fitting their certificates,
    /// the intermediate signed by the root, both within their time.
    ///
    /// The root's key may be absent: it can be kept offline.
    ///
    /// # Errors
    /// One variant of [`PkiError`] for each of these, naming the file.
    pub fn open(folder: &Path, now: SystemTime) -> Result<Self, PkiError> {
        let root_path = folder.join(ROOT_CERTIFICATE_FILE);
        let path = folder.join(INTERMEDIATE_CERTIFICATE_FILE);
        let root = facts::read_certificate(&root_path)?;
        let intermediate = facts::read_certificate(&path)?;
        let root_facts = Facts::of(&root, &root_path)?;
        let facts = Facts::of(&intermediate, &path)?;
        let key = read_key_of(&facts, &path, &folder.join(INTERMEDIATE_KEY_FILE))?;
        let root_key_path = folder.join(ROOT_KEY_FILE);
        if root_key_path.exists() {
            read_key_of(&root_facts, &root_path, &root_key_path)?;
        }
        if !facts::is_signed_by(&intermediate, &root, &path)? {
            return Err(PkiError::ChainBroken {
                intermediate: path,
                root: root_path,
            });
        }
        root_facts.check_time(&root_path, now)?;
        facts.check_time(&path, now)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            subject: facts.subject,
            root_pem: text(&root_path)?,
            intermediate_pem: text(&path)?,
            root,
            intermediate,
            intermediate_key: key,
            intermediate_validity: facts.validity,
        })
    }

    /// SHA-256 of the root certificate, upper-case hex with colons: what a person compares.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.root)
    }

    /// The root certificate in DER: the trust anchor for client certificates.
    #[must_use]
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The root certificate in PEM, the contents of [`CA_FILE`].
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Where the root certificate is for devices and clients to copy.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.folder.join(CA_FILE)
    }

    /// When the intermediate ends; no leaf is valid beyond it.
    #[must_use]
    pub fn intermediate_not_after(&self) -> SystemTime {
        self.intermediate_validity.not_after
    }

    /// Every certificate ever issued, oldest first.
    ///
    /// # Errors
    /// [`PkiError::IndexMalformed`] with its line, [`PkiError::IndexTooLarge`], [`PkiError::Locked`].
    pub fn issued(&self) -> Result<Vec<IndexEntry>, PkiError> {
        LockedIndex::to_read(&self.index_path())?.entries()
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.folder.join(INDEX_FILE)
    }

    /// The validity of a leaf made now.
    pub(crate) fn leaf_validity(&self, now: SystemTime, days: u64) -> Result<Validity, PkiError> {
        let now = profile::whole_seconds(now)?;
        let path = self.folder.join(INTERMEDIATE_CERTIFICATE_FILE);
        if now >= self.intermediate_validity.not_after {
            let not_after = rfc3339(self.intermediate_validity.not_after)?;
            return Err(PkiError::Expired { path, not_after });
        }
        Validity::leaf(now, days, self.intermediate_validity.not_after)
    }

    /// Signs a leaf with a fresh P-256 key and writes it into the index before returning it.
    pub(crate) fn issue(
        &self,
        index: &mut LockedIndex,
        params: &CertificateParams,
        validity: Validity,
        name: &str,
        kind: Kind,
    ) -> Result<Issued, PkiError> {
        let key = SecretKey::generate(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_der(&self.intermediate, &self.intermediate_key.0)?;
        let certificate = params.signed_by(&key.0, &issuer)?;
        let entry = entry(params, &certificate, name, kind)?;
        index.append(&entry)?;
        Ok(Issued {
            name: name.to_owned(),
            cert_chain_pem: format!("{}{}", certificate_pem(&certificate), self.intermediate_pem),
            key_pem: key.pem(),
            ca_pem: self.root_pem.clone(),
            serial: entry.serial,
            fingerprint: entry.fingerprint,
            not_before: validity.not_before,
            not_after: validity.not_after,
        })
    }
}

/// An early, friendly refusal; the rename at the end is what makes it safe.
fn refuse_occupied(folder: &Path) -> Result<(), PkiError> {
    let occupied = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => folder.exists(),
    };
    if occupied {
        return Err(PkiError::AlreadyExists {
            path: folder.to_path_buf(),
        });
    }
    Ok(())
}

fn read_key_of(facts: &Facts, certificate: &Path, path: &Path) -> Result<SecretKey, PkiError> {
    let key = facts::read_key(path)?;
    if !facts.belongs_to(&key) {
        return Err(PkiError::KeyMismatch {
            certificate: certificate.to_path_buf(),
            key: path.to_path_buf(),
        });
    }
    Ok(key)
}

fn entry(
    params: &CertificateParams,
    certificate: &Certificate,
    name: &str,
    kind: Kind,
) -> Result<IndexEntry, PkiError> {
    let serial = params
        .serial_number
        .as_ref()
        .map(|serial| hex(serial.as_ref()));
    Ok(IndexEntry {
        serial: serial.unwrap_or_default(),
        name: name.to_owned(),
        kind,
        not_before: rfc3339(params.not_before.into())?,
        not_after: rfc3339(params.not_after.into())?,
        fingerprint: fingerprint(certificate.der()),
    })
}

/// PEM with line feeds only: rcgen ends lines as the platform does.
fn certificate_pem(certificate: &Certificate) -> String {
    certificate.pem().replace("\r\n", "\n")
}

fn text(path: &Path) -> Result<String, PkiError> {
    let bytes: Zeroizing<Vec<u8>> = placing::read(path)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| PkiError::Malformed {
        path: path.to_path_buf(),
        problem: "is no text",
    })
}
