//! What a backend may answer.

use moat_policy::Identity;

use crate::ConnectRequest;

/// One link of a chain.
///
/// `authenticate` is a plain blocking call that runs on an [`crate::AuthPool`] worker, never on the
/// packet plane. A backend that is asynchronous inside (HTTP, SQL) waits for its answer here, with
/// a timeout of its own.
pub trait Authenticator: Send + Sync {
    /// The name in configuration and logs.
    fn name(&self) -> &'static str;

    /// Judges one CONNECT.
    ///
    /// It must do the same work for an unknown user as for a known one with a wrong password, and
    /// must never accept an empty password.
    fn authenticate(&self, who: &ConnectRequest) -> Verdict;

    /// Whether somebody of this user name could come in by a password. Asked of those who are in, after a reload: who
    /// is unknown to every backend is put out. A backend that cannot tell without asking somebody says yes.
    fn may_know_user(&self, _name: &str) -> bool {
        true
    }

    /// Reads the backend's files again. Nothing changes unless all of them are good.
    ///
    /// # Errors
    /// What is wrong with a file, with its line; the backend goes on with what it had.
    fn reload(&self) -> Result<(), ReloadError> {
        Ok(())
    }

    /// What works in the backend's files but is doubtful, a line for people each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A backend's answer, and the chain's.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// These credentials are of another kind, or the backend does not know this user: ask the next.
    NotMine,
    /// The credentials are good. Nobody else is asked.
    Accept(Identity),
    /// The credentials are this backend's and are bad. Nobody else is asked.
    Reject(RejectReason),
    /// The backend could not decide. Refuses, see [`crate::ContinueOnError`].
    Unavailable(BackendError),
}

/// Why somebody was refused.
///
/// For the operator's log. The client is told one of two codes, see [`Self::connack_v5`], and never
/// whether a user exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// The listener's chain has no backend, so nobody can come in.
    #[error("the listener has no authentication backend")]
    EmptyChain,
    /// Neither a certificate nor a user name.
    #[error("no certificate and no user name")]
    NoCredentials,
    /// A user name without a password, and no backend that could use it.
    #[error("a user name without a password")]
    NoPassword,
    /// The password has no bytes; some servers take that for an anonymous login.
    #[error("empty password")]
    EmptyPassword,
    /// The user exists and the password is another.
    #[error("wrong password")]
    WrongPassword,
    /// No backend knows these credentials.
    #[error("unknown user")]
    UnknownUser,
    /// The user name beside a certificate is not the certificate's identity, or neither is the one that an authentication
    /// method proved.
    #[error("the user name or certificate is not that of the identity that was proved")]
    UserNameIsNotIdentity,
    /// The client's answers to an authentication method prove nothing.
    #[error("the answers to the authentication method are wrong")]
    WrongProof,
    /// An exchange went on for longer than [`crate::EXCHANGE_STEPS_MAX`].
    #[error("the authentication method asked more often than moat lets it")]
    TooManySteps,
}

impl RejectReason {
    /// The reason code of a v5 CONNACK: 0x86 Bad User Name or Password if a user name was sent,
    /// 0x87 Not authorized if nothing was (MQTT 5 section 3.2.2.2).
    #[must_use]
    pub fn connack_v5(self) -> u8 {
        match self {
            Self::EmptyChain | Self::NoCredentials | Self::WrongProof | Self::TooManySteps => 0x87,
            Self::NoPassword
            | Self::EmptyPassword
            | Self::WrongPassword
            | Self::UnknownUser
            | Self::UserNameIsNotIdentity => 0x86,
        }
    }

    /// The return code of a 3.1 or 3.1.1 CONNACK: 4 or 5 (MQTT 3.1.1 section 3.2.2.3).
    #[must_use]
    pub fn connack_v3(self) -> u8 {
        if self.connack_v5() == 0x86 { 4 } else { 5 }
    }
}

/// Why a backend could not decide. The client is told 0x88 Server unavailable (3.x: 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The hash of a known user could not be computed; `cause` is the library's message.
    #[error("{backend}: password hash failed: {cause}")]
    Hash {
        /// The backend's name.
        backend: &'static str,
        /// The library's message.
        cause: String,
    },
    /// The backend panicked: a defect in moat. The worker goes on.
    #[error("an authentication backend panicked: this is a defect in moat, please report it")]
    Panicked,
    /// The broker is stopping and asks nobody any more.
    #[error("the broker is stopping")]
    ShuttingDown,
}

/// A file of a backend that could not be read again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: {problem}")]
pub struct ReloadError {
    /// The backend's name.
    pub backend: &'static str,
    /// What is wrong, with file and line.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_not_tell_an_unknown_user_from_a_wrong_password() {
        let codes = |reason: RejectReason| (reason.connack_v5(), reason.connack_v3());
        assert_eq!(
            codes(RejectReason::UnknownUser),
            codes(RejectReason::WrongPassword)
        );
        assert_eq!(codes(RejectReason::UnknownUser), (0x86, 4));
        assert_eq!(codes(RejectReason::NoCredentials), (0x87, 5));
    }
}
