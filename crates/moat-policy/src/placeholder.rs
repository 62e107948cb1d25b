//! Placeholders of topic patterns, and the values they take for a subject.

use std::sync::Arc;

use crate::identity::Source;
use crate::subject::Subject;

/// A part of a pattern that is filled in per subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Identity,
    Username,
    ClientId,
    CertCommonName,
    CertSanDns,
    Group,
    /// `%u` of a mosquitto ACL: the identity's name, which is what mosquitto calls the user name, also
    /// with a certificate. Whoever proved no name has none.
    MosquittoUser,
}

impl Placeholder {
    /// The name of every placeholder that is written between `${` and `}`.
    pub(crate) const NAMES: [&'static str; 6] = [
        "identity",
        "username",
        "clientid",
        "cert.cn",
        "cert.san.dns",
        "group",
    ];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "identity" => Some(Self::Identity),
            "username" => Some(Self::Username),
            "clientid" => Some(Self::ClientId),
            "cert.cn" => Some(Self::CertCommonName),
            "cert.san.dns" => Some(Self::CertSanDns),
            "group" => Some(Self::Group),
            _ => None,
        }
    }

    /// Whether a subject can have several values; a pattern then stands for one pattern per value.
    pub(crate) fn is_multi_valued(self) -> bool {
        matches!(self, Self::CertSanDns | Self::Group)
    }
}

/// The values of the placeholders for one subject.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) subject: Subject<'a>,
    /// Names of the groups the policy file put the identity into; the identity has its own too.
    pub(crate) file_groups: &'a [Arc<str>],
}

impl<'a> Values<'a> {
    /// The value of a placeholder that has at most one; `None` if the subject has none or it may
    /// not stand in a topic.
    pub(crate) fn single(&self, placeholder: Placeholder) -> Option<&'a str> {
        self.raw(placeholder)
            .filter(|value| may_stand_in_topic(value))
    }

    /// Whether there is a value at all, be it one that may not stand in a topic.
    pub(crate) fn has(&self, placeholder: Placeholder) -> bool {
        self.raw(placeholder).is_some()
    }

    fn raw(&self, placeholder: Placeholder) -> Option<&'a str> {
        let identity = self.subject.identity;
        match placeholder {
            Placeholder::Identity => Some(&*identity.name),
            Placeholder::Username => identity.username.as_deref(),
            Placeholder::ClientId => Some(self.subject.client_id),
            Placeholder::CertCommonName => identity
                .certificate
                .as_ref()
                .and_then(|facts| facts.common_name.as_deref()),
            Placeholder::MosquittoUser => {
                (identity.source != Source::Anonymous).then_some(&*identity.name)
            }
            Placeholder::CertSanDns | Placeholder::Group => None,
        }
    }

    /// The values of a placeholder that can have several, without those that may not stand in a
    /// topic.
    pub(crate) fn several(&self, placeholder: Placeholder) -> impl Iterator<Item = &'a str> {
        let (first, second): (&'a [Arc<str>], &'a [Arc<str>]) = match placeholder {
            Placeholder::CertSanDns => match &self.subject.identity.certificate {
                Some(facts) => (&facts.san_dns, &[]),
                None => (&[], &[]),
            },
            Placeholder::Group => (&self.subject.identity.groups, self.file_groups),
            _ => (&[], &[]),
        };
        first
            .iter()
            .chain(second)
            .map(|value| &**value)
            .filter(|value| may_stand_in_topic(value))
    }
}

/// A value that could change the shape of a pattern never matches (C9): a client named `+` or
/// `a/b` must not widen its own subtree.
fn may_stand_in_topic(value: &str) -> bool {
    !value.is_empty()
        && !value
            .bytes()
            .any(|b| matches!(b, b'+' | b'#' | b'/' | b'\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        for name in Placeholder::NAMES {
            assert!(Placeholder::from_name(name).is_some(), "{name}");
        }
        assert_eq!(Placeholder::from_name("clientId"), None);
    }

    #[test]
    fn values_that_could_widen_a_pattern_are_refused() {
        for bad in ["", "+", "#", "a/b", "a+", "#a", "a\0"] {
            assert!(!may_stand_in_topic(bad), "{bad:?}");
        }
        assert!(may_stand_in_topic("meter-1"));
    }
}
