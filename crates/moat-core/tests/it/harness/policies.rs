//! Policies, from the texts people write.

use std::sync::Arc;

use moat_policy::{PolicyFormat, PolicySourceText, Snapshot};

pub(crate) fn policy(text: &str) -> Arc<Snapshot> {
    let source = PolicySourceText {
        file: "policy.toml".into(),
        format: PolicyFormat::Toml,
        text: format!("version = 1\n{text}"),
    };
    Arc::new(Snapshot::compile(vec![source], 1).unwrap())
}

/// The policy of a mosquitto ACL file.
pub(crate) fn acl(text: &str) -> Arc<Snapshot> {
    let source = PolicySourceText {
        file: "acl".into(),
        format: PolicyFormat::MosquittoAcl,
        text: text.into(),
    };
    Arc::new(Snapshot::compile(vec![source], 1).unwrap())
}

/// Everything but `denied` topics is allowed to everybody; `denied` concerns these actions.
pub(crate) fn policy_denying(actions: &str, denied: &str) -> Arc<Snapshot> {
    policy(&format!(
        "[[rule]]\nwho = [\"*\"]\ndeny = [{actions}]\ntopics = [\"{denied}\"]\n\
         [[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n"
    ))
}
