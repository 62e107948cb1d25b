//! The decision about a verified certificate.

use moat_policy::Source;

use super::NAME;
use crate::{Authenticator, ConnectRequest, RejectReason, Verdict};

/// Accepts whoever came with a verified certificate, under the certificate's name.
#[derive(Debug)]
pub struct X509;

impl Authenticator for X509 {
    fn name(&self) -> &'static str {
        NAME
    }

    /// It takes no passwords.
    fn may_know_user(&self, _name: &str) -> bool {
        false
    }

    fn authenticate(&self, who: &ConnectRequest) -> Verdict {
        let Some(identity) = &who.certificate else {
            return Verdict::NotMine;
        };
        // An identity of another source here is a defect of the caller; it must not become a login.
        if identity.source != Source::Certificate {
            return Verdict::NotMine;
        }
        match &who.username {
            Some(username) if **username != *identity.name => {
                Verdict::Reject(RejectReason::UserNameIsNotIdentity)
            }
            _ => Verdict::Accept(identity.clone()),
        }
    }
}
