//! The part of a subject that all certificates of an authority share.

use rcgen::{DistinguishedName, DnType, DnValue, string::PrintableString};
use x509_parser::x509::X509Name;

use crate::PkiError;

/// Longest organization and organizational unit, in characters (RFC 5280 `ub-organization-name`).
const SUBJECT_PART_CHARS_MAX: usize = 64;
const PART_ALLOWED: &str = "1 to 64 characters, none of them a control character";
const COUNTRY_ALLOWED: &str = "two letters A-Z (ISO 3166-1)";

/// Country, organization and unit of every certificate; the common name is the device's own.
///
/// The default is the subject of the device certificates in the hardening guide that moat follows,
/// `C=US, O=Lab, OU=Metering`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectTemplate {
    /// C, two upper-case letters; left out when `None`.
    pub country: Option<String>,
    /// O; left out when `None`.
    pub organization: Option<String>,
    /// OU; left out when `None`.
    pub organizational_unit: Option<String>,
}

impl Default for SubjectTemplate {
    fn default() -> Self {
        Self {
            country: Some("US".into()),
            organization: Some("Lab".into()),
            organizational_unit: Some("Metering".into()),
        }
    }
}

impl SubjectTemplate {
    /// The distinguished name for one certificate.
    ///
    /// # Errors
    /// [`PkiError::InvalidSubject`] for a part that RFC 5280 does not allow.
    pub(crate) fn with_common_name(&self, name: &str) -> Result<DistinguishedName, PkiError> {
        let mut subject = DistinguishedName::new();
        if let Some(country) = &self.country {
            subject.push(DnType::CountryName, country_value(country)?);
        }
        if let Some(organization) = &self.organization {
            let value = checked_part("organization", organization)?;
            subject.push(DnType::OrganizationName, value);
        }
        if let Some(unit) = &self.organizational_unit {
            let value = checked_part("organizational unit", unit)?;
            subject.push(DnType::OrganizationalUnitName, value);
        }
        subject.push(DnType::CommonName, name);
        Ok(subject)
    }

    /// Takes the shared part out of the subject of a certificate of the authority, so that a
    /// reopened authority goes on as it was created.
    pub(crate) fn of(subject: &X509Name<'_>) -> Self {
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().ok().map(str::to_owned)
        };
        Self {
            country: subject.iter_country().next().and_then(text),
            organization: subject.iter_organization().next().and_then(text),
            organizational_unit: subject.iter_organizational_unit().next().and_then(text),
        }
    }
}

fn country_value(country: &str) -> Result<DnValue, PkiError> {
    let is_code = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
    let invalid = || PkiError::InvalidSubject {
        field: "country",
        value: country.chars().take(SUBJECT_PART_CHARS_MAX).collect(),
        allowed: COUNTRY_ALLOWED,
    };
    if !is_code {
        return Err(invalid());
    }
    let value = PrintableString::try_from(country).map_err(|_| invalid())?;
    Ok(DnValue::PrintableString(value))
}

fn checked_part<'a>(field: &'static str, value: &'a str) -> Result<&'a str, PkiError> {
    let length = value.chars().count();
    if (1..=SUBJECT_PART_CHARS_MAX).contains(&length) && !value.chars().any(char::is_control) {
        return Ok(value);
    }
    Err(PkiError::InvalidSubject {
        field,
        value: value.chars().take(SUBJECT_PART_CHARS_MAX).collect(),
        allowed: PART_ALLOWED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(country: &str, organization: &str) -> SubjectTemplate {
        SubjectTemplate {
            country: Some(country.into()),
            organization: Some(organization.into()),
            organizational_unit: None,
        }
    }

    #[test]
    fn country_must_be_two_upper_case_letters() {
        for bad in ["", "us", "USA", "U1", "Ü"] {
            let error = template(bad, "Lab").with_common_name("x").unwrap_err();
            assert!(matches!(
                error,
                PkiError::InvalidSubject {
                    field: "country",
                    ..
                }
            ));
        }
        assert!(template("DE", "Lab").with_common_name("x").is_ok());
    }

    #[test]
    fn organization_is_bounded_and_printable() {
        let longest = "ö".repeat(SUBJECT_PART_CHARS_MAX);
        assert!(template("DE", &longest).with_common_name("x").is_ok());
        for bad in ["", "a\nb", &format!("{longest}x")] {
            let error = template("DE", bad).with_common_name("x").unwrap_err();
            assert!(matches!(
                error,
                PkiError::InvalidSubject {
                    field: "organization",
                    ..
                }
            ));
        }
    }
}
