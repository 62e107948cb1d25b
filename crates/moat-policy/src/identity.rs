//! Who is at the other end of a connection.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Who a connection belongs to: one thing for the whole life of the connection.
///
/// Certificate, password and token of the same name are credentials of one identity; which of
/// them was used is told by [`Source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name rules speak of. One namespace for every source.
    pub name: Arc<str>,
    /// Which kind of credential proved the name.
    pub source: Source,
    /// Groups the authentication reported. The policy file may add more by name.
    pub groups: Vec<Arc<str>>,
    /// The user name, only if a password or token proved it.
    pub username: Option<Arc<str>>,
    /// What the client certificate said, if there was one.
    pub certificate: Option<Box<CertificateFacts>>,
    /// When the credential ends; the connection ends with it.
    pub expires_at: Option<SystemTime>,
}

impl Identity {
    /// The name every anonymous connection has. It is no valid user name, so no rule for a real
    /// identity can be met by an anonymous one.
    pub const ANONYMOUS_NAME: &'static str = "<anonymous>";

    /// The name under which the broker itself publishes. It is no valid user name either, and no credential leads to
    /// it: there is no identity of this name, only messages.
    pub const BROKER_NAME: &'static str = "<broker>";

    /// Somebody who proved nothing. Only a listener that says so by name hands this out.
    pub fn anonymous() -> Self {
        Self::new(Arc::from(Self::ANONYMOUS_NAME), Source::Anonymous)
    }

    /// Somebody whose user name was proved by a password.
    pub fn from_password(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self {
            username: Some(Arc::clone(&name)),
            ..Self::new(name, Source::Password)
        }
    }

    /// Somebody whose user name was proved by an authentication method of MQTT 5.0.
    pub fn from_method(name: impl Into<Arc<str>>) -> Self {
        Self {
            source: Source::Method,
            ..Self::from_password(name)
        }
    }

    /// Somebody whose name was taken from a verified client certificate.
    ///
    /// The identity ends when the certificate does.
    pub fn from_certificate(name: impl Into<Arc<str>>, facts: CertificateFacts) -> Self {
        Self {
            expires_at: Some(facts.not_after),
            certificate: Some(Box::new(facts)),
            ..Self::new(name.into(), Source::Certificate)
        }
    }

    fn new(name: Arc<str>, source: Source) -> Self {
        Self {
            name,
            source,
            groups: Vec::new(),
            username: None,
            certificate: None,
            expires_at: None,
        }
    }
}

/// Which kind of credential proved an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A client certificate, verified during the TLS handshake.
    Certificate,
    /// User name and password.
    Password,
    /// The exchange of an authentication method of MQTT 5.0. The users file need not know the name.
    Method,
    /// Nothing: the listener allows connections without a credential.
    Anonymous,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Password => "password",
            Self::Method => "method",
            Self::Anonymous => "anonymous",
        })
    }
}

/// What a verified client certificate says about its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject's common name, if it has exactly one.
    pub common_name: Option<Arc<str>>,
    /// Subject alternative names of type DNS, in their order.
    pub san_dns: Vec<Arc<str>>,
    /// Subject alternative names of type URI, in their order.
    pub san_uri: Vec<Arc<str>>,
    /// Subject alternative names of type e-mail, in their order.
    pub san_email: Vec<Arc<str>>,
    /// The issuer's name, DER. With `serial` the key of the revocation table.
    pub issuer: Box<[u8]>,
    /// The serial number's content bytes, as the certificate has them.
    pub serial: Box<[u8]>,
    /// The end of the certificate's validity.
    pub not_after: SystemTime,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_password_identity_has_proved_its_user_name() {
        let identity = Identity::from_password("anna");
        assert_eq!(identity.username.as_deref(), Some("anna"));
        assert_eq!(identity.source.to_string(), "password");
    }

    #[test]
    fn a_certificate_identity_has_no_user_name_and_ends_with_the_certificate() {
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let identity = Identity::from_certificate(
            "meter-1",
            CertificateFacts {
                common_name: Some("meter-1".into()),
                san_dns: Vec::new(),
                san_uri: Vec::new(),
                san_email: Vec::new(),
                issuer: Box::default(),
                serial: Box::default(),
                not_after,
            },
        );
        assert_eq!(identity.username, None);
        assert_eq!(identity.expires_at, Some(not_after));
    }
}
