//! Verifies client certificates, with a bound on the length of the chain.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// Longest chain above the client's certificate, the trusted CA included: a root and two
/// intermediates. Unit: CA certificates.
pub const CHAIN_DEPTH_DEFAULT: u8 = 3;

/// With more trusted CAs than this their names are not sent to the client: the request for its
/// certificate would grow beyond what small devices can take.
const HINT_SUBJECTS_MAX: usize = 32;

/// Checks that a client's chain leads to one of the client CAs.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    provider: Arc<CryptoProvider>,
    anchors: Vec<TrustAnchor<'static>>,
    hints: Vec<DistinguishedName>,
    intermediates_max: usize,
    mandatory: bool,
}

impl ClientVerifier {
    /// `chain_depth` counts the trusted CA and the intermediates below it; 0 counts as 1.
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        roots: RootCertStore,
        chain_depth: u8,
        mandatory: bool,
    ) -> Self {
        let hints = if roots.len() <= HINT_SUBJECTS_MAX {
            roots.subjects()
        } else {
            Vec::new()
        };
        Self {
            provider,
            anchors: roots.roots,
            hints,
            intermediates_max: usize::from(chain_depth.saturating_sub(1)),
            mandatory,
        }
    }

    /// Counts the path that is really used, so that a client which sends certificates nobody
    /// needs is not refused.
    fn check_depth(&self, path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
        if path.intermediate_certificates().count() > self.intermediates_max {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        Ok(())
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let check_depth = |path: &VerifiedPath<'_>| self.check_depth(path);
        EndEntityCert::try_from(end_entity)
            .and_then(|certificate| {
                certificate
                    .verify_for_usage(
                        self.provider.signature_verification_algorithms.all,
                        &self.anchors,
                        intermediates,
                        now,
                        KeyUsage::client_auth(),
                        // Revocation lists come in here when the broker has some; a resumed
                        // session never gets this far, so the driver looks each connection's
                        // chain up in the revocation table as well.
                        None,
                        Some(&check_depth),
                    )
                    .map(|_| ())
            })
            .map(|()| ClientCertVerified::assertion())
            .map_err(certificate_error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The alert follows from the error: the causes a device's owner can mend get their own.
fn certificate_error(error: webpki::Error) -> Error {
    use webpki::Error as E;
    let cause = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertRevoked => CertificateError::Revoked,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    Error::InvalidCertificate(cause)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tls::fixtures::{Authority, Leaf, provider};

    fn verifier(root: &Authority, chain_depth: u8) -> ClientVerifier {
        let mut roots = RootCertStore::empty();
        roots.add(root.der()).unwrap();
        ClientVerifier::new(provider(), roots, chain_depth, true)
    }

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap(),
        )
    }

    fn cause(result: Result<ClientCertVerified, Error>) -> CertificateError {
        match result {
            Err(Error::InvalidCertificate(cause)) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_chain_may_be_as_deep_as_configured_and_no_deeper() {
        let root = Authority::root("root");
        let first = root.intermediate("first");
        let second = first.intermediate("second");
        let leaf = second.issue(Leaf::client("device-7"));
        let chain = [first.der(), second.der()];
        let verify = |depth| verifier(&root, depth).verify_client_cert(&leaf.der(), &chain, now());
        assert!(verify(3).is_ok());
        assert!(matches!(cause(verify(2)), CertificateError::Other(_)));
    }

    #[test]
    fn certificates_nobody_needs_do_not_count() {
        let root = Authority::root("root");
        let first = root.intermediate("first");
        let leaf = first.issue(Leaf::client("device-7"));
        let stranger = Authority::root("stranger");
        let chain = [
            stranger.intermediate("x").der(),
            stranger.der(),
            first.der(),
        ];
        assert!(
            verifier(&root, 2)
                .verify_client_cert(&leaf.der(), &chain, now())
                .is_ok()
        );
    }

    #[test]
    fn an_expired_certificate_is_refused_as_expired() {
        let root = Authority::root("root");
        let leaf = root.issue(Leaf::client("device-7"));
        let later = UnixTime::since_unix_epoch(
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                + Duration::from_secs(400 * 24 * 3600),
        );
        let verifier = verifier(&root, 3);
        assert!(verifier.verify_client_cert(&leaf.der(), &[], now()).is_ok());
        let refused = verifier.verify_client_cert(&leaf.der(), &[], later);
        assert!(matches!(
            cause(refused),
            CertificateError::ExpiredContext { .. }
        ));
    }

    #[test]
    fn a_foreign_authority_is_unknown() {
        let leaf = Authority::root("other").issue(Leaf::client("device-7"));
        let refused =
            verifier(&Authority::root("root"), 3).verify_client_cert(&leaf.der(), &[], now());
        assert_eq!(cause(refused), CertificateError::UnknownIssuer);
    }

    #[test]
    fn a_server_certificate_is_no_client_certificate() {
        let root = Authority::root("root");
        let leaf = root.issue(Leaf::server("localhost"));
        let refused = verifier(&root, 3).verify_client_cert(&leaf.der(), &[], now());
        assert_eq!(cause(refused), CertificateError::InvalidPurpose);
    }

    #[test]
    fn many_authorities_are_not_listed_to_the_client() {
        let mut roots = RootCertStore::empty();
        let der = Authority::root("root").der();
        for _ in 0..=HINT_SUBJECTS_MAX {
            roots.add(der.clone()).unwrap();
        }
        let verifier = ClientVerifier::new(provider(), roots, 3, false);
        assert!(verifier.root_hint_subjects().is_empty());
    }
}
