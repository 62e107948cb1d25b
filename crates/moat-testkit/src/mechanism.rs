//! An authentication method for tests: a challenge and its response, both sides proving that they know one secret.
//!
//! The client begins with its name. The server asks with random bytes, and both sign them: the client in its answer,
//! the server in its last word.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use moat_auth::{ConnectRequest, EnhancedAuth, Exchange, RejectReason, Step};
use moat_policy::Identity;

/// The name of the method.
pub const METHOD: &str = "MOAT-TEST";

/// Random bytes of a challenge.
pub const CHALLENGE_BYTES: usize = 32;

/// The mechanism, with the secret of each name.
pub struct ChallengeResponse(HashMap<String, Vec<u8>>);

impl ChallengeResponse {
    /// For these names and secrets.
    #[must_use]
    pub fn new(secrets: &[(&str, &str)]) -> Arc<Self> {
        let own = |(name, secret): &(&str, &str)| ((*name).to_owned(), secret.as_bytes().to_vec());
        Arc::new(Self(secrets.iter().map(own).collect()))
    }
}

impl EnhancedAuth for ChallengeResponse {
    fn method(&self) -> &str {
        METHOD
    }

    fn begin(&self, _who: &ConnectRequest) -> Box<dyn Exchange> {
        Box::new(State::Named(self.0.clone()))
    }
}

enum State {
    Named(HashMap<String, Vec<u8>>),
    Asked {
        name: String,
        secret: Vec<u8>,
        challenge: [u8; CHALLENGE_BYTES],
    },
}

impl Exchange for State {
    fn advance(&mut self, data: Option<&[u8]>) -> Step {
        let data = data.unwrap_or_default();
        match self {
            State::Named(secrets) => {
                let name = String::from_utf8_lossy(data).into_owned();
                let Some(secret) = secrets.remove(&name) else {
                    return Step::Refuse(RejectReason::WrongProof);
                };
                let mut challenge = [0; CHALLENGE_BYTES];
                rand::fill(&mut challenge).unwrap();
                *self = State::Asked {
                    name,
                    secret,
                    challenge,
                };
                Step::Continue(challenge.to_vec())
            }
            State::Asked {
                name,
                secret,
                challenge,
            } => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                if hmac::verify(&key, &said("client", challenge), data).is_err() {
                    return Step::Refuse(RejectReason::WrongProof);
                }
                Step::Done {
                    identity: Identity::from_method(name.as_str()),
                    data: Some(sign("server", secret, challenge)),
                }
            }
        }
    }
}

/// What the client answers to a challenge.
#[must_use]
pub fn answer(secret: &str, challenge: &[u8]) -> Vec<u8> {
    sign("client", secret.as_bytes(), challenge)
}

/// What the server says at last, if it knows the secret too.
#[must_use]
pub fn last_word(secret: &str, challenge: &[u8]) -> Vec<u8> {
    sign("server", secret.as_bytes(), challenge)
}

fn sign(side: &str, secret: &[u8], challenge: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, &said(side, challenge)).as_ref().to_vec()
}

fn said(side: &str, challenge: &[u8]) -> Vec<u8> {
    [side.as_bytes(), challenge].concat()
}
