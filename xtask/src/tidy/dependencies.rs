//! Which crate may know which.

use toml::{Table, Value};

use super::SourceFile;

/// A crate and the crates of moat it may depend on. A crate that is not here may not exist.
const ALLOWED: &[(&str, &[&str])] = &[
    // Level 0 knows no other.
    ("moat-events", &[]),
    ("moat-codec", &[]),
    ("moat-config", &[]),
    ("moat-api", &[]),
    ("moat-websocket", &[]),
    // Level 1: what MQTT and the policy mean.
    ("moat-policy", &["moat-codec", "moat-events"]),
    ("moat-core", &["moat-codec", "moat-events", "moat-policy"]),
    // Level 2: services behind a port.
    ("moat-auth", &["moat-config", "moat-events", "moat-policy"]),
    (
        "moat-store",
        &["moat-codec", "moat-core", "moat-events", "moat-policy"],
    ),
    ("moat-pki", &["moat-config", "moat-events"]),
    // Level 3: the packet plane.
    (
        "moat-broker",
        &[
            "moat-codec",
            "moat-core",
            "moat-policy",
            "moat-auth",
            "moat-config",
            "moat-events",
            "moat-store",
            "moat-websocket",
        ],
    ),
    // The wiring: the only crate that may know all of them.
    (
        "moat",
        &[
            "moat-api",
            "moat-auth",
            "moat-broker",
            "moat-codec",
            "moat-config",
            "moat-core",
            "moat-events",
            "moat-pki",
            "moat-policy",
            "moat-store",
            "moat-websocket",
        ],
    ),
    // Beside: no crate depends on them but for its tests.
    ("moat-paths", &["moat-codec", "moat-core", "moat-policy"]),
    (
        "moat-testkit",
        &[
            "moat-auth",
            "moat-broker",
            "moat-codec",
            "moat-config",
            "moat-core",
            "moat-events",
            "moat-policy",
            "moat-websocket",
        ],
    ),
    // Knows none on purpose: it measures them.
    ("moat-load", &[]),
    ("xtask", &["moat-events", "moat-config", "moat-api"]),
];

/// What may not be linked into a crate that is without input, output and clock.
const NO_IO_CRATES: &[&str] = &["moat-codec", "moat-core", "moat-policy", "moat-websocket"];
const IO_DEPENDENCIES: &[&str] = &[
    "tokio",
    "mio",
    "rustls",
    "socket2",
    "rustix",
    "nix",
    "serde_json",
];

/// Where a newcomer reads what each crate is for.
const PAGE: &str = "ARCHITECTURE.md";

/// The crates that have no row on the page.
pub(super) fn missing_in_architecture(files: &[SourceFile]) -> Vec<String> {
    let page = files.iter().find(|file| file.path == PAGE);
    let text = page.map_or("", |page| page.text.as_str());
    let has_row = |name: &str| {
        text.lines()
            .any(|line| line.starts_with(&format!("| `{name}` |")))
    };
    let missing = ALLOWED.iter().filter(|(name, _)| !has_row(name));
    missing
        .map(|(name, _)| format!("{PAGE}: its table of crates has no row for {name}"))
        .collect()
}

/// What is wrong with the manifests.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    let is_manifest = |file: &&SourceFile| {
        let crate_folder = file.path.strip_suffix("/Cargo.toml");
        crate_folder.is_some_and(|folder| folder == "xtask" || folder.starts_with("crates/"))
    };
    files
        .iter()
        .filter(is_manifest)
        .flat_map(check_manifest)
        .collect()
}

fn check_manifest(file: &SourceFile) -> Vec<String> {
    let path = &file.path;
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{path}: {error}")],
    };
    let mut wrong = Vec::new();
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name != folder {
        wrong.push(format!(
            "{path}: the crate is named {name}; name it like its folder, {folder}"
        ));
    }
    let inherits_lints = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        .and_then(Value::as_bool);
    if inherits_lints != Some(true) {
        wrong.push(format!("{path}: write [lints] workspace = true"));
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        wrong.push(format!(
            "{path}: {name} is not in the table of xtask/src/tidy/dependencies.rs; say there what it may know"
        ));
        return wrong;
    };
    for (kind, dependency, value) in dependencies(&manifest) {
        let is_ours = ALLOWED.iter().any(|(known, _)| *known == dependency);
        let is_normal = kind != "dev-dependencies";
        if is_normal && is_ours && !allowed.contains(&dependency) {
            wrong.push(format!(
                "{path}: {name} may not know {dependency}; allowed: {}",
                list(allowed)
            ));
        }
        if !is_normal && ["moat", "xtask"].contains(&dependency) {
            wrong.push(format!(
                "{path}: no crate's tests may know {dependency}; whole-broker tests are in crates/moat/tests"
            ));
        }
        if is_normal && NO_IO_CRATES.contains(&name) && IO_DEPENDENCIES.contains(&dependency) {
            wrong.push(format!(
                "{path}: {name} is without input, output and clock; {dependency} is not for it"
            ));
        }
        if value.get("workspace").and_then(Value::as_bool) != Some(true) {
            wrong.push(format!(
                "{path}: {dependency} has a version of its own; write {dependency}.workspace = true"
            ));
        }
    }
    wrong
}

/// Every dependency with the table it stands in, those for one target included.
fn dependencies(manifest: &Table) -> Vec<(&'static str, &str, &Value)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| {
            KINDS.into_iter().flat_map(move |kind| {
                let dependencies = table.get(kind).and_then(Value::as_table);
                dependencies
                    .into_iter()
                    .flatten()
                    .map(move |(name, value)| (kind, name.as_str(), value))
            })
        })
        .collect()
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "no crate of moat".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(name: &str, rest: &str) -> Vec<String> {
        check(&[SourceFile::new(
            &format!("crates/{name}/Cargo.toml"),
            &format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{rest}"),
        )])
    }

    #[test]
    fn an_allowed_dependency_passes() {
        let rest = "[dependencies]\nmoat-codec.workspace = true\n[dev-dependencies]\nmoat-testkit.workspace = true\n";
        assert_eq!(wrong("moat-policy", rest), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_against_the_direction_is_found_in_every_table() {
        for table in [
            "dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            let rest = format!("[{table}]\nmoat-core.workspace = true\n");
            assert_eq!(
                wrong("moat-codec", &rest),
                [
                    "crates/moat-codec/Cargo.toml: moat-codec may not know moat-core; allowed: no crate of moat"
                ]
            );
        }
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        let rest = "[dependencies]\nmoat-testkit.workspace = true\n";
        assert_eq!(wrong("moat", rest).len(), 1);
        assert_eq!(wrong("moat-broker", rest).len(), 1);
    }

    #[test]
    fn a_crate_without_input_and_output_links_none() {
        let rest = "[dependencies]\ntokio.workspace = true\n";
        assert_eq!(
            wrong("moat-core", rest),
            [
                "crates/moat-core/Cargo.toml: moat-core is without input, output and clock; tokio is not for it"
            ]
        );
        assert_eq!(wrong("moat-auth", rest), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_crate_a_version_of_its_own_and_missing_lints_are_found() {
        assert_eq!(wrong("moat-common", "").len(), 1);
        assert_eq!(
            wrong("moat-auth", "[dependencies]\nslab = \"0.4\"\n").len(),
            1
        );
        let file = SourceFile::new(
            "crates/moat-auth/Cargo.toml",
            "[package]\nname = \"moat-auth\"\n",
        );
        assert_eq!(
            check(&[file]),
            ["crates/moat-auth/Cargo.toml: write [lints] workspace = true"]
        );
    }

    #[test]
    fn a_crate_without_a_row_in_the_architecture_is_named() {
        let row = |name: &str| format!("| `{name}` | something | |\n");
        let all: String = ALLOWED.iter().map(|(name, _)| row(name)).collect();
        let page = |text: &str| [SourceFile::new(PAGE, text)];
        assert_eq!(missing_in_architecture(&page(&all)), Vec::<String>::new());
        assert_eq!(
            missing_in_architecture(&page(&all.replace(&row("moat-paths"), ""))),
            ["ARCHITECTURE.md: its table of crates has no row for moat-paths"]
        );
        assert_eq!(missing_in_architecture(&[]).len(), ALLOWED.len());
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Whoever is known stands above whoever knows it.
        for (index, (name, known)) in ALLOWED.iter().enumerate() {
            for other in *known {
                let above = ALLOWED.iter().take(index);
                assert!(
                    above.clone().any(|(name, _)| name == other),
                    "{name} knows {other}"
                );
            }
        }
    }
}
