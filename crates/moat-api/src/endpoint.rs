//! What an endpoint is, and the list of all.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::describe::Describe;
use crate::status::GetStatus;

/// Every endpoint there is. A server refuses to start without a handler for each.
pub const ENDPOINTS: &[EndpointMeta] = &[meta::<GetStatus>()];

/// One endpoint: implemented by an empty type that names it.
pub trait Endpoint {
    /// The body of a request; [`Nothing`] for none.
    type Request: Serialize + DeserializeOwned + Describe;
    /// The body of a successful response.
    type Response: Serialize + DeserializeOwned + Describe;

    /// A stable name, for clients generated from the definition.
    const ID: &'static str;
    /// What it does, as a sentence.
    const DOC: &'static str;
    /// The HTTP method.
    const VERB: Verb;
    /// The path, from the root of the server.
    const PATH: &'static str;
    /// What a caller must be allowed to.
    const PERMISSION: Permission;
    /// What the audit log keeps of a call.
    const AUDIT: Audit;
}

/// An [`Endpoint`] as a value.
#[derive(Clone, Copy, Debug)]
pub struct EndpointMeta {
    /// A stable name.
    pub id: &'static str,
    /// What it does, as a sentence.
    pub doc: &'static str,
    /// The HTTP method.
    pub verb: Verb,
    /// The path, from the root of the server.
    pub path: &'static str,
    /// What a caller must be allowed to.
    pub permission: Permission,
    /// What the audit log keeps of a call.
    pub audit: Audit,
    pub(crate) request: Body,
    pub(crate) response: Body,
}

/// How the type of a body describes itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) schema: fn() -> Value,
    pub(crate) collect: fn(&mut Map<String, Value>),
}

const fn meta<E: Endpoint>() -> EndpointMeta {
    EndpointMeta {
        id: E::ID,
        doc: E::DOC,
        verb: E::VERB,
        path: E::PATH,
        permission: E::PERMISSION,
        audit: E::AUDIT,
        request: Body {
            schema: E::Request::schema,
            collect: E::Request::collect,
        },
        response: Body {
            schema: E::Response::schema,
            collect: E::Response::collect,
        },
    }
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads and changes nothing.
    Get,
    /// Makes or does something.
    Post,
    /// Puts something into a state.
    Put,
    /// Removes something.
    Delete,
}

impl Verb {
    /// The method as it stands in a request.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What a caller must be allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See how the broker is.
    StatusRead,
}

impl Permission {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StatusRead => "status:read",
        }
    }
}

/// What the audit log keeps of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audit {
    /// That it was made, by whom, and its outcome.
    Read,
    /// The same, written before the call runs: if that fails, so does the call.
    Change,
}

impl Audit {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
        }
    }
}

/// The body of a request that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Nothing;

impl Describe for Nothing {
    fn schema() -> Value {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_its_own_id_and_its_own_verb_and_path() {
        for (index, one) in ENDPOINTS.iter().enumerate() {
            for other in ENDPOINTS.iter().skip(index + 1) {
                assert_ne!(one.id, other.id);
                assert_ne!((one.verb, one.path), (other.verb, other.path));
            }
        }
    }

    #[test]
    fn every_endpoint_is_versioned_and_documented() {
        for endpoint in ENDPOINTS {
            assert!(endpoint.path.starts_with("/v1/"), "{}", endpoint.path);
            assert!(endpoint.doc.ends_with('.'), "{}", endpoint.doc);
        }
    }

    #[test]
    fn what_only_reads_is_not_audited_as_a_change_and_the_other_way_round() {
        for endpoint in ENDPOINTS {
            let reads = endpoint.verb == Verb::Get;
            assert_eq!(endpoint.audit == Audit::Read, reads, "{}", endpoint.id);
        }
    }
}
