use moat_policy::{Identity, Source};

use super::X509;
use crate::backend::contract::{Contract, certificate_request, password_request, secret};
use crate::{Authenticator, RejectReason, Verdict};

#[test]
fn it_keeps_the_contract() {
    let mismatch = || Verdict::Reject(RejectReason::UserNameIsNotIdentity);
    Contract {
        backend: &X509,
        source: Source::Certificate,
        right: (certificate_request("meter-1", None), "meter-1"),
        wrong: vec![
            (certificate_request("meter-1", Some("meter-2")), mismatch()),
            (certificate_request("meter-1", Some("")), mismatch()),
        ],
        not_mine: vec![
            password_request("meter-1", secret("pw").as_bytes()),
            password_request("nobody", secret("pw").as_bytes()),
            password_request("meter-1", b""),
        ],
    }
    .run();
}

#[test]
fn the_same_user_name_is_accepted_and_its_password_ignored() {
    let Verdict::Accept(identity) =
        X509.authenticate(&certificate_request("meter-1", Some("meter-1")))
    else {
        panic!("refused");
    };
    assert_eq!(identity.username, None, "the password proved nothing");
    assert!(identity.certificate.is_some() && identity.expires_at.is_some());
}

#[test]
fn an_identity_that_no_certificate_proved_is_not_accepted() {
    for identity in [Identity::anonymous(), Identity::from_password("meter-1")] {
        let mut request = certificate_request("meter-1", None);
        request.certificate = Some(identity);
        assert_eq!(X509.authenticate(&request), Verdict::NotMine);
    }
}
