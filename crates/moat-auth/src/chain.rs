//! The ordered chain of a listener: the one place that decides what "could not decide" means.

use std::fmt;
use std::sync::Arc;

use moat_policy::{Identity, Source};

use crate::{Authenticator, ConnectRequest, RejectReason, ReloadError, Verdict};

/// Most backends in one chain.
pub const CHAIN_LINKS_MAX: usize = 16;

/// Makes [`BackendConfig`] and its `build` out of one line for each backend folder.
macro_rules! backends {
    ($($(#[$doc:meta])* $variant:ident => $folder:ident,)*) => {
        /// The settings of one link.
        #[derive(Debug, Clone)]
        pub enum BackendConfig {
            $($(#[$doc])* $variant(crate::backend::$folder::Config),)*
        }

        impl BackendConfig {
            /// Names of all backends, as the configuration spells them.
            pub const NAMES: &[&'static str] = &[$(crate::backend::$folder::NAME),*];

            fn build(&self) -> Result<Arc<dyn Authenticator>, ReloadError> {
                match self {
                    $(Self::$variant(config) => crate::backend::$folder::build(config),)*
                }
            }
        }
    };
}

backends! {
    /// Client certificates.
    X509 => x509,
    /// The users file.
    File => file,
}

/// What happens after a backend was unavailable. Named in the configuration, never implied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContinueOnError {
    /// Refuse at once.
    #[default]
    No,
    /// Ask the next ones; refuse unless one of them accepts.
    Yes,
}

/// Why a chain could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More links than [`CHAIN_LINKS_MAX`].
    #[error("{count} authentication backends, at most {CHAIN_LINKS_MAX} are allowed in one chain")]
    TooManyLinks {
        /// How many were asked for.
        count: usize,
    },
    /// A backend's files are bad.
    #[error(transparent)]
    Backend(#[from] ReloadError),
}

/// The backends of a listener, in order.
pub struct Chain {
    links: Vec<Arc<dyn Authenticator>>,
    continue_on_error: ContinueOnError,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.links.iter().map(|link| link.name()).collect();
        f.debug_struct("Chain")
            .field("links", &names)
            .field("continue_on_error", &self.continue_on_error)
            .finish()
    }
}

impl Chain {
    /// A chain of backends that exist already; listeners may share them. An empty one refuses
    /// everybody.
    ///
    /// # Errors
    /// [`ChainError::TooManyLinks`].
    pub fn new(
        links: Vec<Arc<dyn Authenticator>>,
        continue_on_error: ContinueOnError,
    ) -> Result<Self, ChainError> {
        if links.len() > CHAIN_LINKS_MAX {
            return Err(ChainError::TooManyLinks { count: links.len() });
        }
        Ok(Self {
            links,
            continue_on_error,
        })
    }

    /// Builds every backend of a configuration.
    ///
    /// # Errors
    /// [`ChainError::TooManyLinks`], or the first backend whose files are bad.
    pub fn build(
        configs: &[BackendConfig],
        continue_on_error: ContinueOnError,
    ) -> Result<Self, ChainError> {
        if configs.len() > CHAIN_LINKS_MAX {
            return Err(ChainError::TooManyLinks {
                count: configs.len(),
            });
        }
        let links = configs
            .iter()
            .map(BackendConfig::build)
            .collect::<Result<_, _>>()?;
        Self::new(links, continue_on_error)
    }

    /// Asks the backends in order until one accepts or rejects. Blocks; never answers
    /// [`Verdict::NotMine`].
    #[must_use]
    pub fn authenticate(&self, who: &ConnectRequest) -> Verdict {
        if self.links.is_empty() {
            return Verdict::Reject(RejectReason::EmptyChain);
        }
        // Checked here and not in a backend, so that no order of backends lets a certificate's
        // holder act under another name.
        if let (Some(identity), Some(username)) = (&who.certificate, &who.username)
            && *identity.name != **username
        {
            return Verdict::Reject(RejectReason::UserNameIsNotIdentity);
        }
        let mut failure = None;
        for link in &self.links {
            match link.authenticate(who) {
                Verdict::NotMine => {}
                Verdict::Unavailable(error) if self.continue_on_error == ContinueOnError::Yes => {
                    failure.get_or_insert(error);
                }
                decided => return decided,
            }
        }
        match failure {
            Some(error) => Verdict::Unavailable(error),
            None => Verdict::Reject(nobody_knows(who)),
        }
    }

    /// Whether somebody who is in may stay: whoever has no password here any more may not.
    #[must_use]
    pub fn still_vouches_for(&self, identity: &Identity) -> bool {
        identity.source != Source::Password
            || self
                .links
                .iter()
                .any(|link| link.may_know_user(&identity.name))
    }

    /// Reads the files of every backend again; each changes only if its own are good.
    ///
    /// # Errors
    /// All backends that kept what they had, with what is wrong.
    pub fn reload(&self) -> Result<(), Vec<ReloadError>> {
        let errors: Vec<_> = self
            .links
            .iter()
            .filter_map(|link| link.reload().err())
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// What is doubtful in the files of the backends, in their order.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.links.iter().flat_map(|link| link.warnings()).collect()
    }
}

fn nobody_knows(who: &ConnectRequest) -> RejectReason {
    match (&who.certificate, &who.username, &who.password) {
        (None, None, _) => RejectReason::NoCredentials,
        (None, Some(_), None) => RejectReason::NoPassword,
        _ => RejectReason::UnknownUser,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::BackendError;
    use crate::backend::contract::{certificate_request, password_request};

    #[test]
    fn who_is_taken_out_of_the_users_file_may_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let password = crate::Password::new(b"a long enough password".to_vec());
        crate::file::UserFile::add(&path, "anna", &password).unwrap();
        let configs = [
            BackendConfig::X509(crate::x509::Config),
            BackendConfig::File(crate::file::Config { path: path.clone() }),
        ];
        let chain = Chain::build(&configs, ContinueOnError::No).unwrap();
        let anna = Identity::from_password("anna");
        assert!(chain.still_vouches_for(&anna));
        assert!(!chain.still_vouches_for(&Identity::from_password("otto")));
        std::fs::write(&path, "").unwrap();
        assert!(chain.still_vouches_for(&anna), "not before the reload");
        chain.reload().unwrap();
        assert!(!chain.still_vouches_for(&anna));
        // What no password proved does not end with one.
        assert!(chain.still_vouches_for(&Identity::anonymous()));
    }

    #[test]
    fn a_backend_that_cannot_tell_keeps_everybody() {
        let fixed: Arc<dyn Authenticator> = Arc::new(Fixed(Verdict::NotMine, AtomicUsize::new(0)));
        let chain = Chain::new(vec![fixed], ContinueOnError::No).unwrap();
        assert!(chain.still_vouches_for(&Identity::from_password("anna")));
    }

    /// Always answers the same and counts how often it was asked.
    struct Fixed(Verdict, AtomicUsize);

    impl Authenticator for Fixed {
        fn name(&self) -> &'static str {
            "fixed"
        }

        fn authenticate(&self, _who: &ConnectRequest) -> Verdict {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.clone()
        }

        fn reload(&self) -> Result<(), ReloadError> {
            match self.0 {
                Verdict::Unavailable(_) => Err(ReloadError {
                    backend: "fixed",
                    problem: "bad".into(),
                }),
                _ => Ok(()),
            }
        }
    }

    fn down() -> Verdict {
        Verdict::Unavailable(BackendError::ShuttingDown)
    }

    fn accept() -> Verdict {
        Verdict::Accept(Identity::from_password("anna"))
    }

    fn reject() -> Verdict {
        Verdict::Reject(RejectReason::WrongPassword)
    }

    /// The chain's verdict, and how many of the links were asked.
    fn ask(verdicts: &[Verdict], continue_on_error: ContinueOnError) -> (Verdict, usize) {
        let links: Vec<_> = verdicts
            .iter()
            .map(|v| Arc::new(Fixed(v.clone(), AtomicUsize::new(0))))
            .collect();
        let dynamic = links
            .iter()
            .map(|link| Arc::clone(link) as Arc<dyn Authenticator>)
            .collect();
        let verdict = Chain::new(dynamic, continue_on_error)
            .unwrap()
            .authenticate(&password_request("anna", b"pw"));
        (
            verdict,
            links
                .iter()
                .map(|link| link.1.load(Ordering::Relaxed))
                .sum(),
        )
    }

    #[test]
    fn an_empty_chain_refuses_everybody() {
        let chain = Chain::new(Vec::new(), ContinueOnError::Yes).unwrap();
        let refused = Verdict::Reject(RejectReason::EmptyChain);
        assert_eq!(
            chain.authenticate(&password_request("anna", b"pw")),
            refused
        );
        assert_eq!(
            chain.authenticate(&certificate_request("anna", None)),
            refused
        );
    }

    #[test]
    fn the_first_that_decides_decides() {
        use ContinueOnError::No;
        assert_eq!(
            ask(&[Verdict::NotMine, accept(), reject()], No),
            (accept(), 2)
        );
        assert_eq!(ask(&[reject(), accept()], No), (reject(), 1));
    }

    #[test]
    fn if_nobody_knows_them_they_are_refused() {
        let unknown = Verdict::Reject(RejectReason::UnknownUser);
        assert_eq!(
            ask(&[Verdict::NotMine, Verdict::NotMine], ContinueOnError::Yes),
            (unknown, 2)
        );
    }

    #[test]
    fn unavailable_refuses_at_once_unless_the_chain_says_otherwise() {
        assert_eq!(ask(&[down(), accept()], ContinueOnError::No), (down(), 1));
        assert_eq!(
            ask(&[down(), accept()], ContinueOnError::Yes),
            (accept(), 2)
        );
        assert_eq!(
            ask(&[down(), reject()], ContinueOnError::Yes),
            (reject(), 2)
        );
    }

    #[test]
    fn unavailable_refuses_if_no_later_backend_accepts() {
        assert_eq!(
            ask(&[down(), Verdict::NotMine], ContinueOnError::Yes),
            (down(), 2)
        );
    }

    #[test]
    fn another_user_name_beside_a_certificate_is_refused_before_anybody_is_asked() {
        let link = Arc::new(Fixed(accept(), AtomicUsize::new(0)));
        let chain = Chain::new(
            vec![Arc::clone(&link) as Arc<dyn Authenticator>],
            ContinueOnError::No,
        )
        .unwrap();
        let refused = Verdict::Reject(RejectReason::UserNameIsNotIdentity);
        assert_eq!(
            chain.authenticate(&certificate_request("anna", Some("bert"))),
            refused
        );
        assert_eq!(
            chain.authenticate(&certificate_request("anna", Some(""))),
            refused
        );
        assert_eq!(link.1.load(Ordering::Relaxed), 0);
        assert_eq!(
            chain.authenticate(&certificate_request("anna", Some("anna"))),
            accept()
        );
    }

    #[test]
    fn the_reason_says_what_was_missing() {
        let chain = Chain::build(
            &[BackendConfig::X509(crate::x509::Config)],
            ContinueOnError::No,
        )
        .unwrap();
        let mut nothing = password_request("anna", b"pw");
        nothing.password = None;
        assert_eq!(
            chain.authenticate(&nothing),
            Verdict::Reject(RejectReason::NoPassword)
        );
        nothing.username = None;
        assert_eq!(
            chain.authenticate(&nothing),
            Verdict::Reject(RejectReason::NoCredentials)
        );
    }

    #[test]
    fn more_links_than_the_bound_are_refused() {
        let config = BackendConfig::X509(crate::x509::Config);
        assert!(Chain::build(&vec![config.clone(); CHAIN_LINKS_MAX], ContinueOnError::No).is_ok());
        let error =
            Chain::build(&vec![config; CHAIN_LINKS_MAX + 1], ContinueOnError::No).unwrap_err();
        assert_eq!(
            error,
            ChainError::TooManyLinks {
                count: CHAIN_LINKS_MAX + 1
            }
        );
    }

    #[test]
    fn reload_reports_every_backend_that_kept_its_old_files() {
        let links = [down(), accept(), down()]
            .map(|v| Arc::new(Fixed(v, AtomicUsize::new(0))) as Arc<dyn Authenticator>);
        let chain = Chain::new(links.to_vec(), ContinueOnError::No).unwrap();
        assert_eq!(chain.reload().unwrap_err().len(), 2);
    }

    #[test]
    fn every_backend_has_a_name() {
        assert_eq!(BackendConfig::NAMES, ["x509", "file"]);
    }
}
