//! The policy file a new data folder gets.

/// The text of `policy.toml` in a new data folder. It means the same as
/// [`Snapshot::built_in`](crate::Snapshot::built_in), and shows how to go on.
pub const DEFAULT_POLICY_TOML: &str = include_str!("default_policy.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::parse::{PolicyFormat, PolicySourceText};
    use crate::snapshot::Snapshot;
    use crate::subject::Subject;

    fn compile(text: String) -> Snapshot {
        let source = PolicySourceText {
            file: "policy.toml".into(),
            format: PolicyFormat::Toml,
            text,
        };
        Snapshot::compile(vec![source], 1).unwrap_or_else(|errors| panic!("{}", errors[0]))
    }

    #[test]
    fn the_default_file_decides_as_the_built_in_policy() {
        let (file, built_in) = (compile(DEFAULT_POLICY_TOML.into()), Snapshot::built_in());
        assert!(file.warnings().is_empty());
        let identity = Identity::from_password("meter-1");
        let who = Subject {
            identity: &identity,
            client_id: "c",
        };
        for topic in [
            "devices/meter-1",
            "devices/meter-1/up",
            "devices/meter-1/+",
            "devices/meter-1/#",
            "devices/meter-2/up",
            "devices/+/up",
            "devices/#",
            "devices",
            "#",
            "$SYS/#",
            "$SYS/broker/uptime",
        ] {
            assert_eq!(
                file.allows(who, topic),
                built_in.allows(who, topic),
                "{topic}"
            );
        }
        assert_eq!(built_in.allows(who, "devices/meter-1/up"), [true; 4]);
        assert_eq!(built_in.allows(who, "devices/meter-2/up"), [false; 4]);
    }

    #[test]
    fn the_roles_in_its_comments_compile_when_uncommented() {
        let text = DEFAULT_POLICY_TOML
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        assert_ne!(text, DEFAULT_POLICY_TOML);
        let snapshot = compile(text);
        let anna = Identity::from_password("anna");
        let anna = Subject {
            identity: &anna,
            client_id: "c",
        };
        assert_eq!(
            snapshot.allows(anna, "devices/meter-1/up"),
            [false, true, false, true]
        );
        let gateway = Identity::from_password("gateway-1");
        let gateway = Subject {
            identity: &gateway,
            client_id: "c",
        };
        assert_eq!(snapshot.allows(gateway, "factory/press/up"), [true; 4]);
        let admin = Identity::from_password("root-anna");
        let admin = Subject {
            identity: &admin,
            client_id: "c",
        };
        assert_eq!(snapshot.allows(admin, "any/topic"), [true; 4]);
        assert_eq!(
            snapshot.allows(admin, "$SYS/broker"),
            [false, true, false, true]
        );
    }
}
