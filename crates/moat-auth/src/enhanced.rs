//! Enhanced authentication (MQTT 5.0 section 4.12): the place where mechanisms such as SCRAM plug in.
//!
//! A mechanism is a state machine without input or output: it gets what the client sent and says what comes next.
//! Its steps run on the workers of an [`AuthPool`](crate::AuthPool), like password checks, and may take as long.
//! None is built in, and an empty [`Mechanisms`] refuses every method.

use std::fmt;
use std::sync::Arc;

use moat_policy::Identity;

use crate::{BackendError, ConnectRequest, RejectReason};

/// Most mechanisms of a broker.
pub const MECHANISMS_MAX: usize = 16;
/// Longest name of a method, in bytes.
pub const METHOD_BYTES_MAX: usize = 64;
/// Most steps of one exchange, the first with the client's CONNECT or AUTH 0x19. SCRAM needs two, Kerberos three.
pub const EXCHANGE_STEPS_MAX: u32 = 8;

/// A mechanism: makes an [`Exchange`] for each client that names its method.
pub trait EnhancedAuth: Send + Sync {
    /// The Authentication Method that selects it, compared byte by byte.
    fn method(&self) -> &str;

    /// Begins an exchange with a client of which no more than `who` is known. Called on a worker.
    fn begin(&self, who: &ConnectRequest) -> Box<dyn Exchange>;
}

/// One client's exchange.
pub trait Exchange: Send {
    /// What follows on the client's Authentication Data: that of its CONNECT or AUTH 0x19 at first, then that of each
    /// AUTH 0x18. Called on a worker.
    fn advance(&mut self, data: Option<&[u8]>) -> Step;
}

/// What a mechanism says to one message of a client.
#[derive(Clone, PartialEq)]
pub enum Step {
    /// The client has to answer this, which goes out with AUTH 0x18 [MQTT-4.12.0-2].
    Continue(Vec<u8>),
    /// It is known who the client is. `data` goes out with the CONNACK, or with AUTH 0x00.
    Done {
        /// Who it is.
        identity: Identity,
        /// The mechanism's last word, such as the proof that the server knows the secret too.
        data: Option<Vec<u8>>,
    },
    /// The client has not proved who it is.
    Refuse(RejectReason),
    /// The mechanism could not decide. Refuses.
    Unavailable(BackendError),
}

/// Without the data, which may be secret.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue(data) => write!(f, "Continue({} bytes)", data.len()),
            Self::Done { identity, .. } => write!(f, "Done({:?})", identity.name),
            Self::Refuse(reason) => write!(f, "Refuse({reason:?})"),
            Self::Unavailable(error) => write!(f, "Unavailable({error:?})"),
        }
    }
}

/// Why a set of mechanisms could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MechanismError {
    /// More than [`MECHANISMS_MAX`].
    #[error("{count} authentication methods, at most {MECHANISMS_MAX} are allowed")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// A method without a name, or with one longer than [`METHOD_BYTES_MAX`].
    #[error("the authentication method {0:?} needs a name of 1 to {METHOD_BYTES_MAX} bytes")]
    Name(String),
    /// Two mechanisms for one method.
    #[error("the authentication method {0:?} is there twice")]
    Twice(String),
}

/// The mechanisms of a broker, by method. Empty by default.
#[derive(Clone, Default)]
pub struct Mechanisms(Vec<Arc<dyn EnhancedAuth>>);

impl Mechanisms {
    /// The set of these.
    ///
    /// # Errors
    /// [`MechanismError`].
    pub fn new(mechanisms: Vec<Arc<dyn EnhancedAuth>>) -> Result<Self, MechanismError> {
        if mechanisms.len() > MECHANISMS_MAX {
            return Err(MechanismError::TooMany {
                count: mechanisms.len(),
            });
        }
        for (n, mechanism) in mechanisms.iter().enumerate() {
            let method = mechanism.method();
            if !(1..=METHOD_BYTES_MAX).contains(&method.len()) {
                return Err(MechanismError::Name(method.to_owned()));
            }
            if mechanisms[..n].iter().any(|other| other.method() == method) {
                return Err(MechanismError::Twice(method.to_owned()));
            }
        }
        Ok(Self(mechanisms))
    }

    /// The mechanism of a method.
    #[must_use]
    pub fn find(&self, method: &str) -> Option<&Arc<dyn EnhancedAuth>> {
        self.0.iter().find(|mechanism| mechanism.method() == method)
    }
}

impl fmt::Debug for Mechanisms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.0.iter().map(|mechanism| mechanism.method());
        f.debug_list().entries(methods).finish()
    }
}

/// An exchange on its way from its first message to a verdict.
pub struct Dialogue {
    mechanism: Arc<dyn EnhancedAuth>,
    who: ConnectRequest,
    exchange: Option<Box<dyn Exchange>>,
    steps: u32,
}

impl Dialogue {
    /// An exchange that has not begun. A password in `who` is not looked at, and dropped.
    #[must_use]
    pub fn new(mechanism: Arc<dyn EnhancedAuth>, who: ConnectRequest) -> Self {
        Self {
            mechanism,
            who: ConnectRequest {
                password: None,
                ..who
            },
            exchange: None,
            steps: 0,
        }
    }

    /// What follows on the client's message. Blocks as long as the mechanism does.
    ///
    /// A certificate or a user name of another identity than the one that was proved refuses, as it does in
    /// [`Chain::authenticate`](crate::Chain::authenticate).
    pub fn advance(&mut self, data: Option<&[u8]>) -> Step {
        if self.steps >= EXCHANGE_STEPS_MAX {
            return Step::Refuse(RejectReason::TooManySteps);
        }
        self.steps += 1;
        let (mechanism, who) = (&self.mechanism, &self.who);
        let exchange = self.exchange.get_or_insert_with(|| mechanism.begin(who));
        let step = exchange.advance(data);
        let Step::Done { identity, .. } = &step else {
            return step;
        };
        let username = who.username.as_deref();
        let certificate = who.certificate.as_ref().map(|holder| &*holder.name);
        let is_another = |name: Option<&str>| name.is_some_and(|name| name != &*identity.name);
        if is_another(username) || is_another(certificate) {
            return Step::Refuse(RejectReason::UserNameIsNotIdentity);
        }
        step
    }
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("method", &self.mechanism.method())
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::contract::{certificate_request, password_request};

    /// Asks for ever, or accepts who says a name.
    struct Named(&'static str);

    impl EnhancedAuth for Named {
        fn method(&self) -> &str {
            self.0
        }

        fn begin(&self, who: &ConnectRequest) -> Box<dyn Exchange> {
            assert!(who.password.is_none());
            Box::new(Asking)
        }
    }

    struct Asking;

    impl Exchange for Asking {
        fn advance(&mut self, data: Option<&[u8]>) -> Step {
            match data {
                None => Step::Continue(b"secret".to_vec()),
                Some(name) => Step::Done {
                    identity: Identity::from_password(std::str::from_utf8(name).unwrap()),
                    data: None,
                },
            }
        }
    }

    fn mechanism(method: &'static str) -> Arc<dyn EnhancedAuth> {
        Arc::new(Named(method))
    }

    #[test]
    fn no_mechanism_is_there_by_default() {
        assert!(Mechanisms::default().find("SCRAM-SHA-256").is_none());
        let some = Mechanisms::new(vec![mechanism("A"), mechanism("B")]).unwrap();
        assert_eq!(some.find("B").unwrap().method(), "B");
        assert!(some.find("a").is_none() && some.find("").is_none());
    }

    #[test]
    fn methods_without_a_name_of_their_own_are_refused() {
        let error = |methods: &[&'static str]| {
            Mechanisms::new(methods.iter().map(|name| mechanism(name)).collect()).err()
        };
        assert_eq!(error(&["A", "A"]), Some(MechanismError::Twice("A".into())));
        assert_eq!(error(&[""]), Some(MechanismError::Name(String::new())));
        let names: Vec<&'static str> = (0..=MECHANISMS_MAX)
            .map(|n| &"abcdefghijklmnopqrstuvwxyz"[n..=n])
            .collect();
        let count = names.len();
        assert_eq!(error(&names), Some(MechanismError::TooMany { count }));
        assert_eq!(error(&names[1..]), None);
        let long: &'static str =
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm";
        assert_eq!(error(&[&long[1..]]), None);
        assert_eq!(error(&[long]), Some(MechanismError::Name(long.into())));
    }

    #[test]
    fn an_exchange_ends_after_exchange_steps_max() {
        let mut dialogue = Dialogue::new(mechanism("A"), password_request("anna", b"unused"));
        for _ in 0..EXCHANGE_STEPS_MAX {
            assert!(matches!(dialogue.advance(None), Step::Continue(_)));
        }
        let refused = Step::Refuse(RejectReason::TooManySteps);
        assert_eq!(dialogue.advance(None), refused);
        assert_eq!(dialogue.advance(Some(b"anna")), refused);
    }

    #[test]
    fn another_name_than_that_of_the_certificate_or_the_user_name_is_refused() {
        let proving = |who, name: &[u8]| Dialogue::new(mechanism("A"), who).advance(Some(name));
        let refused = Step::Refuse(RejectReason::UserNameIsNotIdentity);
        assert_eq!(proving(password_request("anna", b""), b"bert"), refused);
        assert_eq!(proving(certificate_request("anna", None), b"bert"), refused);
        for who in [
            password_request("anna", b""),
            certificate_request("anna", None),
        ] {
            assert!(matches!(proving(who, b"anna"), Step::Done { .. }));
        }
    }

    #[test]
    fn data_is_never_shown() {
        let mut dialogue = Dialogue::new(mechanism("A"), password_request("anna", b"secret"));
        let step = dialogue.advance(None);
        assert!(!format!("{step:?}{dialogue:?}").contains("secret"));
    }
}
