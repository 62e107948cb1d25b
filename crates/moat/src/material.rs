//! What the broker serves with, read from its files.

use std::sync::Arc;

use moat_auth::{Authenticator, BackendConfig, Chain, ConnectRequest, ContinueOnError, Verdict};
use moat_broker::tls::TlsFiles;
use moat_config::Config;
use moat_policy::{Identity, Snapshot};
use rustls::ServerConfig;

use crate::config_file::is_tls;
use crate::exit::Failure;
use crate::ground::Ground;
use crate::policy_files;
use crate::tls_files::{self, CertificateFacts};

/// The version of the policy at the start.
const FIRST_POLICY_VERSION: u64 = 1;

/// What was read from files, before rights are given up.
pub(crate) struct Material {
    /// One entry per listener, `None` for plain ones.
    pub(crate) tls: Vec<Option<LoadedTls>>,
    /// Who may do what.
    pub(crate) policy: Arc<Snapshot>,
    /// Who vouches for clients.
    pub(crate) chain: Arc<Chain>,
    /// What is doubtful about the files.
    pub(crate) warnings: Vec<String>,
}

/// The TLS of one listener.
pub(crate) struct LoadedTls {
    /// The files it came from.
    pub(crate) files: TlsFiles,
    /// Ready to serve.
    pub(crate) config: Arc<ServerConfig>,
    /// The server certificate.
    pub(crate) certificate: CertificateFacts,
}

impl Material {
    /// Reads everything.
    ///
    /// # Errors
    /// The first file that is wrong.
    pub(crate) fn read(config: &Config, ground: &Ground) -> Result<Self, Failure> {
        let data = &ground.folder;
        let tls = config
            .listeners
            .iter()
            .map(|listener| {
                let files =
                    is_tls(listener).then(|| tls_files::of_listener(listener, config, data));
                files.map(LoadedTls::load).transpose()
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (policy, chain, mut warnings) = if ground.is_dev() {
            let everybody: Vec<Arc<dyn Authenticator>> = vec![Arc::new(Everybody)];
            let chain = Chain::new(everybody, ContinueOnError::No);
            (Snapshot::allow_all(), chain, Vec::new())
        } else {
            let loaded = policy_files::load(config, data, FIRST_POLICY_VERSION)?;
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            (
                loaded.snapshot,
                Chain::build(&backends(config), ContinueOnError::No),
                warnings,
            )
        };
        let chain = chain.map_err(|error| Failure::configuration([error]))?;
        warnings.extend(chain.warnings());
        Ok(Self {
            tls,
            policy: Arc::new(policy),
            chain: Arc::new(chain),
            warnings,
        })
    }

    /// The server certificates, one per TLS listener.
    pub(crate) fn certificates(&self) -> Vec<CertificateFacts> {
        let tls = self.tls.iter().flatten();
        tls.map(|tls| tls.certificate.clone()).collect()
    }
}

impl LoadedTls {
    fn load(files: TlsFiles) -> Result<Self, Failure> {
        let (loaded, certificate) = tls_files::load(&files)?;
        Ok(Self {
            files,
            config: loaded.config,
            certificate,
        })
    }
}

/// A certificate first: it decides at once, and a password is never asked for beside it.
fn backends(config: &Config) -> Vec<BackendConfig> {
    let path = config.auth.users.clone();
    vec![
        BackendConfig::X509(moat_auth::x509::Config),
        BackendConfig::File(moat_auth::file::Config { path }),
    ]
}

/// `--dev`: whoever comes with a name or a password comes in as well, and is as anonymous as the others.
struct Everybody;

impl Authenticator for Everybody {
    fn name(&self) -> &'static str {
        "dev"
    }

    fn authenticate(&self, _who: &ConnectRequest) -> Verdict {
        Verdict::Accept(Identity::anonymous())
    }
}
