//! What every backend must do, run against each of them by its own tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moat_policy::{CertificateFacts, Identity, Source};

use crate::{Authenticator, ConnectRequest, Password, RejectReason, Verdict};

/// A word that occurs in the contract's secrets and nowhere else.
const SECRET: &str = "s3cretWord";

/// The cases of one backend.
pub(crate) struct Contract<'a> {
    pub(crate) backend: &'a dyn Authenticator,
    pub(crate) source: Source,
    /// Credentials that are good, with the name they prove.
    pub(crate) right: (ConnectRequest, &'static str),
    /// Credentials of this backend's kind that must not be accepted.
    pub(crate) wrong: Vec<(ConnectRequest, Verdict)>,
    /// Credentials that another backend may judge.
    pub(crate) not_mine: Vec<ConnectRequest>,
}

impl Contract<'_> {
    pub(crate) fn run(self) {
        let (right, name) = self.right;
        let Verdict::Accept(identity) = self.backend.authenticate(&right) else {
            panic!("{} refuses good credentials", self.backend.name());
        };
        assert_eq!((&*identity.name, identity.source), (name, self.source));
        assert_hides_secrets(&right, &Verdict::Accept(identity));
        for (request, expected) in self.wrong {
            let verdict = self.backend.authenticate(&request);
            assert!(!matches!(verdict, Verdict::Accept(_)));
            assert_eq!(verdict, expected, "{request:?}");
            assert_hides_secrets(&request, &verdict);
        }
        for request in self.not_mine {
            assert_eq!(
                self.backend.authenticate(&request),
                Verdict::NotMine,
                "{request:?}"
            );
        }
        if self.source == Source::Password {
            refuses_every_empty_password(self.backend, name);
        }
        assert_eq!(self.backend.reload(), Ok(()));
    }
}

fn refuses_every_empty_password(backend: &dyn Authenticator, known: &str) {
    for name in [known, "nobody", ""] {
        let verdict = backend.authenticate(&password_request(name, b""));
        assert_eq!(
            verdict,
            Verdict::Reject(RejectReason::EmptyPassword),
            "{name:?}"
        );
    }
}

fn assert_hides_secrets(request: &ConnectRequest, verdict: &Verdict) {
    let text = format!("{request:?}{verdict:?}");
    assert!(!text.contains(SECRET), "{text}");
    if let Verdict::Reject(reason) = verdict {
        assert!(!reason.to_string().contains(SECRET));
    }
}

/// A password of at least 12 characters with the secret word in it.
pub(crate) fn secret(tail: &str) -> String {
    format!("{SECRET}-{tail}")
}

pub(crate) fn password_request(name: &str, password: &[u8]) -> ConnectRequest {
    ConnectRequest {
        client_id: "client".into(),
        username: Some(name.into()),
        password: Some(Password::new(password.to_vec())),
        certificate: None,
        address: moat_events::PeerAddress::UNKNOWN,
        listener: Arc::from("tls"),
    }
}

pub(crate) fn certificate_request(identity: &str, username: Option<&str>) -> ConnectRequest {
    let facts = CertificateFacts {
        common_name: Some(identity.into()),
        san_dns: Vec::new(),
        san_uri: Vec::new(),
        san_email: Vec::new(),
        issuer: Box::default(),
        serial: Box::default(),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
    };
    ConnectRequest {
        username: username.map(str::to_owned),
        password: username.map(|_| Password::from(secret("ignored").as_str())),
        certificate: Some(Identity::from_certificate(identity, facts)),
        ..password_request("", b"")
    }
}
