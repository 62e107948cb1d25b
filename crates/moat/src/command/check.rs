//! `moat check`

use std::path::Path;
use std::time::SystemTime;

use moat_auth::Authenticator;
use moat_auth::file::{Config as UsersConfig, FileBackend};
use moat_broker::tls::TlsConfigError;
use moat_config::{Config, Durability, Protocol};
use moat_pki::Authority;
use serde_json::json;

use crate::account::Account;
use crate::cli::CheckArgs;
use crate::config_file::{self, is_tls};
use crate::data_folder::{self, DataPlace};
use crate::exit::Failure;
use crate::first_start::pki_failure;
use crate::output::Output;
use crate::{policy_files, tls_files};

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
    /// What is in order, in a few words each.
    good: Vec<String>,
}

/// Reads everything as `moat start` does, changes nothing and tells all that is wrong or worth a second thought.
///
/// # Errors
/// Something is wrong; the findings have been printed.
pub(crate) fn run(args: &CheckArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    let place = DataPlace {
        config: args.file.clone().or_else(|| place.config.clone()),
        ..place.clone()
    };
    let mut findings = Findings::default();
    match config_file::load(&place) {
        Ok(settings) => {
            let from = settings.file.map_or_else(
                || "defaults, there is no file".to_owned(),
                |file| file.display().to_string(),
            );
            findings.good.push(format!("configuration: {from}"));
            findings
                .warnings
                .extend(settings.warnings.iter().map(ToString::to_string));
            files(&settings.config, &place.path, &mut findings);
        }
        Err(failure) => findings.errors.extend(failure.errors),
    }
    findings.print(output);
    if findings.errors.is_empty() {
        return Ok(());
    }
    // Printed already; what is left is the exit code and how many there were.
    let count = findings.errors.len();
    Err(Failure::configuration([format!(
        "{count} error{} found, see above",
        if count == 1 { "" } else { "s" }
    )]))
}

/// The files that the configuration names.
fn files(config: &Config, data: &Path, findings: &mut Findings) {
    if let Some(user) = &config.user {
        findings.take(Account::find(user), |account| {
            format!("user: {}, id {}", account.name, account.uid.as_raw())
        });
    }
    match policy_files::load(config, data, 1) {
        Ok(loaded) => {
            findings
                .warnings
                .extend(loaded.warnings.iter().map(ToString::to_string));
            findings.good.push("policy".to_owned());
        }
        Err(failure) => findings.errors.extend(failure.errors),
    }
    let users = UsersConfig {
        path: config.auth.users.clone(),
    };
    let opened = FileBackend::open(&users).map_err(|error| Failure::configuration([error]));
    if let Ok(users) = &opened {
        findings.warnings.extend(users.warnings());
    }
    findings.take(opened, |users| format!("users: {}", users.users()));
    findings.good.push(match config.store.durability {
        Durability::None => "store: none".to_owned(),
        durability => format!("store: {}, {durability}", config.store.path.display()),
    });
    authority(data, findings);
    for listener in &config.listeners {
        findings.good.push(exposed(listener));
    }
    for listener in config.listeners.iter().filter(|listener| is_tls(listener)) {
        certificate(listener, config, data, findings);
    }
}

/// Who can connect to a listener.
fn exposed(listener: &moat_config::Listener) -> String {
    let (name, mode) = (&listener.name, listener.socket_mode);
    let Some(socket) = (listener.protocol == Protocol::Unix)
        .then_some(listener.socket.as_ref())
        .flatten()
    else {
        let addresses: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(" and ");
        return format!("listener \"{name}\": {} on {addresses}", listener.protocol);
    };
    let who = match (mode.is_for_all(), mode.is_for_group()) {
        (true, _) => "every user of this machine",
        (false, true) => "the user and the group the broker runs as",
        (false, false) => "the user the broker runs as",
    };
    format!(
        "listener \"{name}\": unix:{}, mode {mode}: {who} can connect",
        socket.display()
    )
}

fn authority(data: &Path, findings: &mut Findings) {
    let pki = tls_files::pki_folder(data);
    match data_folder::exists(&pki) {
        Ok(false) => {
            let text = format!(
                "certificates: none in {} yet, the first start makes them",
                pki.display()
            );
            findings.good.push(text);
        }
        Ok(true) => findings.take(
            Authority::open(&pki, SystemTime::now()).map_err(pki_failure),
            |authority| format!("CA: SHA-256 {}", authority.fingerprint()),
        ),
        Err(failure) => findings.errors.extend(failure.errors),
    }
}

fn certificate(
    listener: &moat_config::Listener,
    config: &Config,
    data: &Path,
    findings: &mut Findings,
) {
    let files = tls_files::of_listener(listener, config, data);
    let is_own = tls_files::uses_own_certificate(listener);
    if is_own && !files.certificate.exists() {
        // The next start makes it.
        return;
    }
    match moat_broker::tls::load(&files) {
        Ok(loaded) => {
            findings
                .warnings
                .extend(loaded.warnings.iter().map(ToString::to_string));
            findings
                .good
                .push(format!("certificate of listener \"{}\"", listener.name));
        }
        Err(error @ TlsConfigError::Expired { .. }) if is_own => {
            findings
                .warnings
                .push(format!("{error} (the next start does)"));
        }
        Err(error) => findings
            .errors
            .push(format!("listener \"{}\": {error}", listener.name)),
    }
}

impl Findings {
    fn take<T>(&mut self, result: Result<T, Failure>, good: impl FnOnce(&T) -> String) {
        match result {
            Ok(value) => self.good.push(good(&value)),
            Err(failure) => self.errors.extend(failure.errors),
        }
    }

    fn print(&self, output: &Output) {
        let mut lines = Vec::new();
        let kinds = [
            ("ok", &self.good),
            ("warning", &self.warnings),
            ("error", &self.errors),
        ];
        for (kind, texts) in kinds {
            lines.extend(
                texts
                    .iter()
                    .map(|text| format!("{}: {text}", output.strong(kind))),
            );
        }
        output.result(&lines.join("\n"), || {
            json!({ "ok": self.errors.is_empty(), "errors": self.errors, "warnings": self.warnings })
        });
    }
}
