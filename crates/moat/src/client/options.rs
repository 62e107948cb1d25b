//! The arguments `pub` and `sub` share, and what follows from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use moat_codec::{QoS, Version};
use moat_pki::CA_FILE;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::credentials::password;
use super::device::Device;
use super::session::{Login, Session};
use super::target::{DEFAULT_HOST, DEFAULT_TLS_PORT, Target};
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;
use crate::tls_files::pki_folder;

/// The most bytes of a PEM file.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Where the broker is, and who we are. A password is never an argument: arguments can be read by every user.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The broker: `mqtts://HOST:PORT`, or `mqtt://HOST:PORT` without encryption; the port may be left out.
    #[arg(long, conflicts_with_all = ["host", "port"])]
    url: Option<Target>,
    /// The broker's name or address, as its certificate has it; by default localhost.
    #[arg(short = 'H', long)]
    host: Option<String>,
    /// The broker's port; by default 8883.
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The CA that issued the broker's certificate; by default `pki/ca.crt` in the data folder, if it is there.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate that says who we are, with its intermediates.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the certificate.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Be this device: a folder that `moat device add` made, or the settings file in it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cert", "user"])]
    device: Option<PathBuf>,
    /// The name of the user that we are.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the user's password from this file, `-` for standard input; without it moat asks for it.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The client id; by default the device's, or one that the broker chooses.
    #[arg(long)]
    id: Option<String>,
    /// Speak MQTT 3.1.1 instead of 5.0.
    #[arg(long)]
    v311: bool,
}

/// Reads a quality of service.
pub(crate) fn parse_qos(text: &str) -> Result<QoS, String> {
    let bits = text.parse().ok();
    bits.and_then(QoS::from_bits)
        .ok_or_else(|| "allowed: 0, 1 or 2".to_owned())
}

impl ConnectArgs {
    /// Whether standard input is used up by the password.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.password_file
            .as_deref()
            .is_some_and(|file| file.as_os_str() == "-")
    }

    /// Connects.
    ///
    /// # Errors
    /// Files that are missing or wrong, the network, or the broker's refusal.
    pub(crate) fn connect(&self, place: &DataPlace, output: &Output) -> Result<Session, Failure> {
        let (target, login) = self.login(place, output)?;
        Session::open(&target, &login).map_err(Failure::failed)
    }

    /// Where to connect, and as whom: files are read and the password is asked for, nothing is opened.
    ///
    /// # Errors
    /// Files that are missing or wrong.
    pub(crate) fn login(
        &self,
        place: &DataPlace,
        output: &Output,
    ) -> Result<(Target, Login), Failure> {
        let device = self.device.as_deref().map(Device::read).transpose()?;
        let target = self.target(device.as_ref());
        let tls = if target.tls {
            Some(self.tls(device.as_ref(), place)?)
        } else {
            None
        };
        let password = match &self.user {
            Some(user) => Some(password(user, self.password_file.as_deref())?),
            None => None,
        };
        if !target.tls && password.is_some() {
            output.remark("moat: the password goes unencrypted over the network; use mqtts:// if the broker has it");
        }
        if !target.tls && (self.cert.is_some() || device.is_some()) {
            return Err(Failure::usage(
                "a certificate needs TLS; say mqtts:// instead of mqtt://",
            ));
        }
        let login = Login {
            version: if self.v311 {
                Version::V311
            } else {
                Version::V5
            },
            client_id: self
                .id
                .clone()
                .or(device.map(|device| device.client_id))
                .unwrap_or_default(),
            user: self.user.clone(),
            password,
            tls,
        };
        Ok((target, login))
    }

    /// What is named wins over the device's settings, and they over the defaults.
    fn target(&self, device: Option<&Device>) -> Target {
        if let Some(url) = &self.url {
            return url.clone();
        }
        let mut target = match device {
            Some(device) => device.target.clone(),
            None => Target::tls(DEFAULT_HOST.to_owned(), DEFAULT_TLS_PORT),
        };
        if let Some(host) = &self.host {
            // As in a URL, or without the brackets.
            let bare = host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            bare.unwrap_or(host).clone_into(&mut target.host);
        }
        target.port = self.port.unwrap_or(target.port);
        target
    }

    fn tls(
        &self,
        device: Option<&Device>,
        place: &DataPlace,
    ) -> Result<Arc<ClientConfig>, Failure> {
        let roots = trusted(&self.ca_file(device, place)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Failure::failed)?
            .with_root_certificates(roots);
        let files = match (device, &self.cert, &self.key) {
            (Some(device), _, _) => Some((&device.certificate, &device.key)),
            (None, Some(cert), Some(key)) => Some((cert, key)),
            _ => None,
        };
        let Some((cert, key)) = files else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let config = builder.with_client_auth_cert(certificates(cert)?, private_key(key)?);
        config.map(Arc::new).map_err(|error| {
            wrong(
                key,
                &format!(
                    "it does not fit the certificate {}: {error}",
                    cert.display()
                ),
            )
        })
    }

    fn ca_file(&self, device: Option<&Device>, place: &DataPlace) -> Result<PathBuf, Failure> {
        if let Some(ca) = self.ca.clone().or(device.map(|device| device.ca.clone())) {
            return Ok(ca);
        }
        let own = pki_folder(&place.path).join(CA_FILE);
        if own.exists() {
            return Ok(own);
        }
        Err(Failure::usage(format!(
            "whom to trust? there is no {}; give the CA that issued the broker's certificate with --ca FILE, or name the \
             broker's data folder with --data",
            own.display()
        )))
    }
}

fn trusted(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(file, &format!("no CA certificate: {error}")))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let bytes = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(wrong(file, "holds no PEM certificate")),
        Err(error) => Err(wrong(file, &format!("bad PEM: {error}"))),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    // Not the library's error: nothing of a key file is ever repeated.
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|_| wrong(file, "holds no PEM private key"))
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    use std::io::Read;
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(file)
        .and_then(|opened| opened.take(PEM_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| wrong(file, &format!("cannot be read: {error}")))?;
    Ok(bytes)
}

fn wrong(file: &Path, what: &str) -> Failure {
    Failure::configuration([format!("{}: {what}", file.display())])
}
