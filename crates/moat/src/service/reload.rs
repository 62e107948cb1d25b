//! Certificates, policy and users into force again, all or nothing each.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use moat_auth::Chain;
use moat_broker::Broker;
use moat_broker::listener::Listener;
use moat_broker::tls::{EXPIRY_WARNING, TlsFiles};
use moat_config::Config;
use moat_events::{Event, EventSender};
use moat_pki::Authority;

use crate::exit::Failure;
use crate::service::Service;
use crate::tls_files::CertificateFacts;
use crate::{first_start, policy_files, tls_files};

/// What can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The policy files.
    Policy,
    /// The users file.
    Users,
    /// The files of all TLS listeners together.
    Certificates,
}

impl What {
    /// Everything.
    pub(crate) const ALL: [Self; 3] = [Self::Policy, Self::Users, Self::Certificates];

    const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Users => "users",
            Self::Certificates => "certificates",
        }
    }
}

/// What a reload needs, and what the last one left.
pub(crate) struct Reload {
    /// The configuration; it is not read again.
    pub(crate) config: Config,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// `false` for `--dev`, which has no files.
    pub(crate) has_files: bool,
    /// The rules of each TLS listener with its files.
    pub(crate) tls: Vec<(Arc<Listener>, TlsFiles)>,
    /// Who vouches for clients.
    pub(crate) chain: Arc<Chain>,
    /// The version of the policy in force.
    pub(crate) policy_version: AtomicU64,
    /// The certificates in force.
    pub(crate) certificates: Mutex<Vec<CertificateFacts>>,
}

/// Reads again, away from the service plane's own thread, and tells how it went.
pub(crate) async fn now(service: &Arc<Service>, what: Vec<What>) {
    if what.is_empty() || !service.reload.has_files {
        return;
    }
    let reloading = Arc::clone(service);
    let work = move || what.into_iter().for_each(|what| one(&reloading, what));
    // It can only fail by a panic, and then the panic's message is in the log of the process.
    let _ = tokio::task::spawn_blocking(work).await;
}

/// Renews the certificate that moat has made for itself, if its end is near. A broker may run for years.
pub(crate) async fn renew_server_certificate(service: &Arc<Service>) {
    if !service
        .reload
        .config
        .listeners
        .iter()
        .any(tls_files::uses_own_certificate)
    {
        return;
    }
    let renewing = Arc::clone(service);
    let work = move || {
        let now = SystemTime::now();
        let renewed = Authority::open(&tls_files::pki_folder(&renewing.reload.data), now)
            .map_err(first_start::pki_failure)
            .and_then(|authority| first_start::renew_server_certificate(&authority, now));
        if let Err(failure) = renewed {
            renewing.events.send(Event::ReloadFailed {
                what: What::Certificates.name().to_owned(),
                error: failure.text(),
            });
        }
    };
    // As in `now`.
    let _ = tokio::task::spawn_blocking(work).await;
}

fn one(service: &Service, what: What) {
    let done = match what {
        What::Policy => policy(service),
        What::Users => users(service),
        What::Certificates => certificates(service),
    };
    let name = what.name().to_owned();
    service.events.send(match done {
        Ok(()) => Event::ReloadSucceeded { what: name },
        Err(failure) => Event::ReloadFailed {
            what: name,
            error: failure.text(),
        },
    });
}

fn policy(service: &Service) -> Result<(), Failure> {
    let reload = &service.reload;
    let version = reload.policy_version.load(Ordering::Relaxed) + 1;
    let loaded = policy_files::load(&reload.config, &reload.data, version)?;
    let snapshot = Arc::new(loaded.snapshot);
    let confirmed = service.with_broker(|broker| broker.set_policy(&snapshot));
    // A shard that has not confirmed will still judge by it, in order.
    reload.policy_version.store(version, Ordering::Relaxed);
    confirmed.unwrap_or(Ok(())).map_err(Failure::failed)
}

/// Who is in by a password and is in no file any more is put out.
fn users(service: &Service) -> Result<(), Failure> {
    let chain = &service.reload.chain;
    chain.reload().map_err(Failure::configuration)?;
    let confirmed = service.with_broker(Broker::put_out);
    confirmed.unwrap_or(Ok(())).map_err(Failure::failed)
}

/// Every listener's files are read before the first listener changes.
fn certificates(service: &Service) -> Result<(), Failure> {
    let reload = &service.reload;
    let loaded = reload
        .tls
        .iter()
        .map(|(_, files)| tls_files::load(files))
        .collect::<Result<Vec<_>, _>>()?;
    let mut facts = Vec::with_capacity(loaded.len());
    for ((listener, _), (loaded, certificate)) in reload.tls.iter().zip(loaded) {
        if let Some(tls) = &listener.tls {
            tls.store(loaded.config);
        }
        facts.push(certificate);
    }
    tell_expiring(&service.events, &facts);
    let mut in_force = reload
        .certificates
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *in_force = facts;
    Ok(())
}

/// Tells which certificates end soon.
pub(crate) fn tell_expiring(events: &EventSender, certificates: &[CertificateFacts]) {
    let now = SystemTime::now();
    for certificate in certificates {
        let left = certificate
            .not_after
            .duration_since(now)
            .unwrap_or_default();
        if left < EXPIRY_WARNING {
            events.send(Event::CertificateExpiring {
                subject: certificate.subject.clone(),
                days_left: u64::try_from(certificate.days_left(now)).unwrap_or(0),
                path: certificate.path.display().to_string(),
            });
        }
    }
}
