//! The name a verified client chain stands for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moat_policy::{CertificateFacts, Identity};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Longest identity a certificate may carry. Unit: bytes.
pub const IDENTITY_BYTES_MAX: usize = 128;

/// Which field of a client certificate is the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityKey {
    /// The subject's common name.
    #[default]
    CommonName,
    /// The subject alternative name of type DNS.
    SanDns,
    /// The subject alternative name of type URI.
    SanUri,
    /// The subject alternative name of type e-mail.
    SanEmail,
}

impl std::fmt::Display for IdentityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CommonName => "common name",
            Self::SanDns => "DNS name",
            Self::SanUri => "URI",
            Self::SanEmail => "e-mail address",
        })
    }
}

/// Why a verified certificate gives no identity. The connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no chain.
    #[error("the client sent no certificate")]
    NoCertificate,
    /// The certificate passed webpki, but cannot be read.
    #[error("the client certificate cannot be parsed; issue it again")]
    Unreadable,
    /// The certificate lacks the field.
    #[error("the client certificate has no {0}; issue it with one, or choose another identity key")]
    Missing(IdentityKey),
    /// The field is there more than once, so it is no identity.
    #[error("the client certificate has {count} values of {key}; issue it with exactly one")]
    Several {
        /// The field.
        key: IdentityKey,
        /// How many there are.
        count: usize,
    },
    /// The field is there and empty.
    #[error("the {0} of the client certificate is empty; issue it again with a name")]
    Empty(IdentityKey),
    /// The field is too long for a name.
    #[error(
        "the {key} of the client certificate has {length} bytes; {IDENTITY_BYTES_MAX} are allowed"
    )]
    TooLong {
        /// The field.
        key: IdentityKey,
        /// Its length in bytes.
        length: usize,
    },
    /// Control characters could forge log lines.
    #[error("the {key} of the client certificate, {value:?}, contains a control character")]
    ControlCharacter {
        /// The field.
        key: IdentityKey,
        /// Its value.
        value: String,
    },
    /// A character that has a meaning in topics: such a name could widen a rule.
    #[error(
        "the {key} of the client certificate, {value:?}, contains {character:?}, which has a \
         meaning in topics; issue it without `+`, `#` and `/`"
    )]
    TopicCharacter {
        /// The field.
        key: IdentityKey,
        /// Its value.
        value: String,
        /// The first such character.
        character: char,
    },
    /// The name that stands for connections without an identity.
    #[error("the {0} of the client certificate is the name of anonymous clients")]
    Reserved(IdentityKey),
}

/// Reads the identity out of a verified chain, leaf first.
///
/// # Errors
/// One cause of [`IdentityError`]; a certificate that leaves a doubt gives no identity.
pub fn identity_from_chain(
    chain: &[CertificateDer<'_>],
    key: IdentityKey,
) -> Result<Identity, IdentityError> {
    let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
    let (rest, certificate) =
        X509Certificate::from_der(leaf).map_err(|_| IdentityError::Unreadable)?;
    if !rest.is_empty() {
        return Err(IdentityError::Unreadable);
    }
    let names = Names::read(&certificate)?;
    let candidates = match key {
        IdentityKey::CommonName => &names.common_names,
        IdentityKey::SanDns => &names.dns,
        IdentityKey::SanUri => &names.uri,
        IdentityKey::SanEmail => &names.email,
    };
    let name = match candidates.as_slice() {
        [] => return Err(IdentityError::Missing(key)),
        [name] => checked(name, key)?,
        several => {
            return Err(IdentityError::Several {
                key,
                count: several.len(),
            });
        }
    };
    let name = Arc::clone(name);
    Ok(Identity::from_certificate(
        name,
        names.into_facts(&certificate)?,
    ))
}

/// Every name of a certificate that could be an identity.
struct Names {
    common_names: Vec<Arc<str>>,
    dns: Vec<Arc<str>>,
    uri: Vec<Arc<str>>,
    email: Vec<Arc<str>>,
}

impl Names {
    fn read(certificate: &X509Certificate<'_>) -> Result<Self, IdentityError> {
        let common_names = certificate
            .subject()
            .iter_common_name()
            .map(|name| name.as_str().map(Arc::from))
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::Unreadable)?;
        let mut names = Self {
            common_names,
            dns: Vec::new(),
            uri: Vec::new(),
            email: Vec::new(),
        };
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|_| IdentityError::Unreadable)?;
        for name in alternatives.iter().flat_map(|san| &san.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push(Arc::from(*name)),
                GeneralName::URI(name) => names.uri.push(Arc::from(*name)),
                GeneralName::RFC822Name(name) => names.email.push(Arc::from(*name)),
                GeneralName::Invalid(..) => return Err(IdentityError::Unreadable),
                _ => {}
            }
        }
        Ok(names)
    }

    fn into_facts(
        self,
        certificate: &X509Certificate<'_>,
    ) -> Result<CertificateFacts, IdentityError> {
        // With several, a rule that uses the common name must not pick one of them.
        let common_name = match <[Arc<str>; 1]>::try_from(self.common_names) {
            Ok([name]) => Some(name),
            Err(_) => None,
        };
        let not_after = u64::try_from(certificate.validity().not_after.timestamp())
            .ok()
            .and_then(|secs| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs)))
            .ok_or(IdentityError::Unreadable)?;
        Ok(CertificateFacts {
            common_name,
            san_dns: self.dns,
            san_uri: self.uri,
            san_email: self.email,
            issuer: certificate.issuer().as_raw().into(),
            serial: certificate.raw_serial().into(),
            not_after,
        })
    }
}

fn checked(name: &Arc<str>, key: IdentityKey) -> Result<&Arc<str>, IdentityError> {
    if name.is_empty() {
        return Err(IdentityError::Empty(key));
    }
    if name.len() > IDENTITY_BYTES_MAX {
        let length = name.len();
        return Err(IdentityError::TooLong { key, length });
    }
    if name.contains(char::is_control) {
        let value = name.to_string();
        return Err(IdentityError::ControlCharacter { key, value });
    }
    if let Some(character) = name.chars().find(|c| matches!(c, '+' | '#' | '/')) {
        return Err(IdentityError::TopicCharacter {
            key,
            value: name.to_string(),
            character,
        });
    }
    if **name == *Identity::ANONYMOUS_NAME {
        return Err(IdentityError::Reserved(key));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
