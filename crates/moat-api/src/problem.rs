//! Errors as RFC 9457 problem details.

use crate::describe::record;

/// The content type of a [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

record! {
    /// Why a request failed (RFC 9457).
    pub struct Problem {
        /// A URI that names the kind of problem; it is not meant to be fetched.
        pub r#type: String,
        /// The kind of problem in a few words, always the same for a kind.
        pub title: String,
        /// The HTTP status of the response.
        pub status: u16,
        /// What was wrong this time and what to do.
        pub detail: String,
    }
}

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The caller did not prove who it is.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is no such path.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The request is not what the endpoint reads.
    BadRequest,
    /// The request is larger than the endpoint reads.
    TooLarge,
    /// The broker has too much to do.
    Busy,
    /// The audit log cannot be written, so nothing is done.
    AuditUnavailable,
    /// A fault of the broker.
    Internal,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BadRequest,
        Self::TooLarge,
        Self::Busy,
        Self::AuditUnavailable,
        Self::Internal,
    ];

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::TooLarge => 413,
            Self::Internal => 500,
            Self::Busy | Self::AuditUnavailable => 503,
        }
    }

    /// The URI of the kind.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Unauthenticated => "urn:moat:problem:unauthenticated",
            Self::Forbidden => "urn:moat:problem:forbidden",
            Self::NotFound => "urn:moat:problem:not-found",
            Self::MethodNotAllowed => "urn:moat:problem:method-not-allowed",
            Self::BadRequest => "urn:moat:problem:bad-request",
            Self::TooLarge => "urn:moat:problem:too-large",
            Self::Busy => "urn:moat:problem:busy",
            Self::AuditUnavailable => "urn:moat:problem:audit-unavailable",
            Self::Internal => "urn:moat:problem:internal",
        }
    }

    /// The kind in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unauthenticated => "the caller did not prove who it is",
            Self::Forbidden => "the caller may not do this",
            Self::NotFound => "there is no such path",
            Self::MethodNotAllowed => "the path has no such method",
            Self::BadRequest => "the request cannot be read",
            Self::TooLarge => "the request is too large",
            Self::Busy => "the broker has too much to do",
            Self::AuditUnavailable => "the audit log cannot be written",
            Self::Internal => "a fault of the broker",
        }
    }

    /// A problem of this kind; `detail` says what was wrong this time and what to do, never a secret.
    pub fn problem(self, detail: impl Into<String>) -> Problem {
        Problem {
            r#type: self.uri().to_owned(),
            title: self.title().to_owned(),
            status: self.status(),
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = ProblemKind::Forbidden.problem("user id 1000 is not the broker's");
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            serde_json::json!({
                "type": "urn:moat:problem:forbidden", "title": "the caller may not do this", "status": 403,
                "detail": "user id 1000 is not the broker's",
            })
        );
    }

    #[test]
    fn every_kind_is_an_error_with_a_uri_of_its_own() {
        let mut uris: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.uri()).collect();
        uris.sort_unstable();
        uris.dedup();
        assert_eq!(uris.len(), ProblemKind::ALL.len());
        assert!(
            ProblemKind::ALL
                .iter()
                .all(|kind| (400..600).contains(&kind.status()))
        );
    }
}
