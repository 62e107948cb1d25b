//! What `GET /v1/status` answers.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use jiff::Timestamp;
use moat_api::{CertificateStatus, HardeningStatus, Problem, ProblemKind, Status, StoreStatus};
use moat_broker::{Broker, StoreReport};

use crate::service::Service;
use crate::tls_files::CertificateFacts;

impl Service {
    /// How the broker is now. Blocks until its packet threads have answered.
    ///
    /// # Errors
    /// It is stopping or overloaded.
    pub(crate) fn status(&self) -> Result<Status, Problem> {
        let report = self
            .with_broker(Broker::report)
            .ok_or_else(|| ProblemKind::Busy.problem("the broker is stopping"))?
            .map_err(|error| ProblemKind::Busy.problem(error.to_string()))?;
        let certificates = self
            .reload
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (sizes, counters) = (report.sizes, report.counters);
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: rfc3339(self.facts.started_at),
            uptime_secs: self.facts.started.elapsed().as_secs(),
            pid: std::process::id(),
            shards: self.facts.shards,
            listeners: self.facts.listeners.clone(),
            connections: number(report.connections),
            sessions: number(sizes.sessions),
            subscriptions: number(sizes.subscriptions),
            retained_messages: number(sizes.retained_messages),
            messages_received_total: counters.messages_received_total,
            messages_sent_total: counters.messages_sent_total,
            messages_dropped_total: counters.messages_dropped_total,
            longest_turn_micros: u64::try_from(report.longest_turn.as_micros()).unwrap_or(u64::MAX),
            policy_version: self.reload.policy_version.load(Ordering::Relaxed),
            store: self
                .with_broker(Broker::store_report)
                .flatten()
                .map(|report| store(&self.reload.config.store, &report)),
            certificates: certificates.iter().map(certificate).collect(),
            hardening: HardeningStatus {
                no_new_privs: self.facts.hardening.no_new_privs,
                core_dumps_disabled: self.facts.hardening.core_dumps_disabled,
                capabilities_dropped: self.facts.hardening.capabilities_dropped,
                user: self.facts.hardening.user.clone(),
            },
        })
    }
}

fn store(config: &moat_config::Store, report: &StoreReport) -> StoreStatus {
    StoreStatus {
        path: config.path.display().to_string(),
        durability: config.durability.word().to_owned(),
        bytes: report.bytes,
        bytes_max: number(config.log_bytes_max.get()),
        pending_bytes: number(report.pending_bytes),
        is_full: report.is_full,
        is_over_limit: report.is_over_limit,
        commits_total: report.commits_total,
        records_total: report.records_total,
        loaded_total: report.loaded_total,
        missing_total: report.missing_total,
        full_total: report.full_total,
        slowest_commit_micros: report.slowest_commit_micros,
    }
}

fn certificate(facts: &CertificateFacts) -> CertificateStatus {
    CertificateStatus {
        subject: facts.subject.clone(),
        not_after: rfc3339(facts.not_after),
        days_left: facts.days_left(SystemTime::now()),
    }
}

/// Whole seconds; empty for a time no calendar holds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .and_then(|time| Timestamp::from_second(time.as_second()))
        .map_or_else(|_| String::new(), |time| time.to_string())
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
