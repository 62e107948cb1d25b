//! `moat device add`

use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use moat_api::GetStatus;
use moat_config::Config;
use moat_pki::{
    Authority, BundlePaths, Existing, Issued, PkiError, San, host_names, plan_device_bundle,
    write_device_bundle,
};
use serde_json::{Value, json};

use crate::admin_client;
use crate::cli::DeviceAddArgs;
use crate::config_file;
use crate::data_folder::{DataPlace, shell_word};
use crate::exit::Failure;
use crate::first_start::pki_failure;
use crate::output::Output;
use crate::service::status::rfc3339;
use crate::tls_files::pki_folder;

/// Gives a device a key and a certificate, and says how to use them.
///
/// # Errors
/// The name is not allowed or taken, a file is in the way, or the authority's files are wrong.
pub(crate) fn run(args: &DeviceAddArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    place.must_exist()?;
    let config = config_file::load(place)?.config;
    let broker = Reached::find(&config, &place.path);
    let host = match &args.host {
        // Checked before anything is issued.
        Some(host) => host.parse::<San>().map_err(Failure::failed)?.to_string(),
        None => broker.host(),
    };
    let now = SystemTime::now();
    let authority = Authority::open(&pki_folder(&place.path), now).map_err(pki_failure)?;
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let was_there = folder.exists();
    let done = issue(args, &authority, &folder, &host, broker.port, now);
    if done.is_err() && !was_there {
        // Only if it is empty.
        let _ = fs::remove_dir(&folder);
    }
    let (issued, paths) = done?;
    let ready = Ready {
        issued: &issued,
        paths: &paths,
        host: &host,
        port: broker.port,
    };
    output.result(&ready.text(output), || ready.value());
    Ok(())
}

/// The bundle is planned first: a certificate whose key cannot be written would be lost.
fn issue(
    args: &DeviceAddArgs,
    authority: &Authority,
    folder: &Path,
    host: &str,
    port: u16,
    now: SystemTime,
) -> Result<(Issued, BundlePaths), Failure> {
    plan_device_bundle(folder, &args.name).map_err(pki_failure)?;
    let existing = if args.reissue {
        Existing::Reissue
    } else {
        Existing::Refuse
    };
    let issued = authority
        .device_certificate(&args.name, now, existing)
        .map_err(|error| match error {
            PkiError::DuplicateDevice { name, not_after } => Failure::failed(format!(
                "device {name:?} has a certificate that is valid until {not_after}; choose another name, or issue \
                 another certificate beside it with --reissue"
            )),
            error => pki_failure(error),
        })?;
    let paths =
        write_device_bundle(folder, &issued, host, port, &args.name).map_err(pki_failure)?;
    Ok((issued, paths))
}

/// Where devices reach the broker.
struct Reached {
    addresses: Vec<SocketAddr>,
    port: u16,
}

impl Reached {
    /// The addresses of the running broker, or those of the configuration.
    fn find(config: &Config, data: &Path) -> Self {
        let running = admin_client::ask::<GetStatus>(data).map(|status| {
            let tls = status.listeners.into_iter().filter(|l| l.protocol == "tls");
            tls.filter_map(|listener| listener.address.parse().ok())
                .collect()
        });
        let configured = || {
            let is_tls =
                |listener: &&moat_config::Listener| listener.protocol == moat_config::Protocol::Tls;
            let tls = config.listeners.iter().filter(is_tls);
            tls.flat_map(|listener| listener.bind.clone()).collect()
        };
        let addresses: Vec<SocketAddr> = running.unwrap_or_else(|_| configured());
        let port = addresses
            .first()
            .map_or(moat_config::DEFAULT_PORT, SocketAddr::port);
        Self { addresses, port }
    }

    /// A name of the server certificate that leads here: the address the broker listens on, if it is one. If it is
    /// every address, this machine's name if that can be resolved, or else an address of it.
    fn host(&self) -> String {
        let mut bound = self.addresses.iter().map(SocketAddr::ip);
        if let Some(ip) = bound.clone().next()
            && bound.all(|ip| !ip.is_unspecified())
        {
            return ip.to_string();
        }
        let (mut dns, mut ips) = (Vec::new(), Vec::new());
        for name in host_names() {
            match name {
                San::Dns(name) if name != "localhost" => dns.push(name),
                San::Ip(ip) if !ip.is_loopback() && self.listens_on(ip) => ips.push(ip.to_string()),
                _ => {}
            }
        }
        dns.retain(|name| self.is_reached_by(name));
        let names = dns.into_iter().chain(ips);
        names
            .chain(["localhost".to_owned()])
            .next()
            .unwrap_or_default()
    }

    fn is_reached_by(&self, name: &str) -> bool {
        let Ok(mut resolved) = (name, self.port).to_socket_addrs() else {
            return false;
        };
        resolved.any(|address| self.listens_on(address.ip()))
    }

    fn listens_on(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| {
            let bound = address.ip();
            bound == ip || (bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4())
        })
    }
}

/// A bundle that is ready to be used.
struct Ready<'a> {
    issued: &'a Issued,
    paths: &'a BundlePaths,
    host: &'a str,
    port: u16,
}

impl Ready<'_> {
    fn text(&self, output: &Output) -> String {
        let name = &self.issued.name;
        let BundlePaths {
            certificate,
            key,
            ca,
            settings,
        } = self.paths;
        let heading = |text: &str| output.strong(text);
        format!(
            "{}\n  reaches      {}:{} (another name: --host)\n  key          {} (keep it secret)\n  certificate  {}\n  CA           {}\n  settings     {}\n  \
             valid until  {}, serial {}\n\n{}\n{}\n\n{}\n{}\n\n{}\n{}",
            heading(&format!("device {name} has a certificate")),
            self.host,
            self.port,
            key.display(),
            certificate.display(),
            ca.display(),
            settings.display(),
            rfc3339(self.issued.not_after),
            self.issued.serial,
            heading("publish with mosquitto_pub:"),
            self.mosquitto(),
            heading("or with paho, Python (pip install paho-mqtt):"),
            self.paho(),
            heading(&format!("settings of the device, {}:", settings.display())),
            fs::read_to_string(settings).unwrap_or_default().trim_end(),
        )
    }

    fn topic(&self) -> String {
        format!("devices/{}/hello", self.issued.name)
    }

    fn mosquitto(&self) -> String {
        let word = |path: &Path| shell_word(&path.display().to_string());
        format!(
            "mosquitto_pub -h {} -p {} --cafile {} --cert {} --key {} -i {} -t {} -m hi -q 1",
            self.host,
            self.port,
            word(&self.paths.ca),
            word(&self.paths.certificate),
            word(&self.paths.key),
            shell_word(&self.issued.name),
            shell_word(&self.topic()),
        )
    }

    fn paho(&self) -> String {
        // A JSON string is a Python string as well.
        let text = |text: &str| Value::from(text).to_string();
        let path = |path: &Path| text(&path.display().to_string());
        format!(
            "python3 - <<'END'\n\
             import paho.mqtt.publish as publish\n\
             publish.single({}, \"hi\", qos=1, hostname={}, port={}, client_id={},\n    \
             tls={{\"ca_certs\": {}, \"certfile\": {}, \"keyfile\": {}}})\n\
             END",
            text(&self.topic()),
            text(self.host),
            self.port,
            text(&self.issued.name),
            path(&self.paths.ca),
            path(&self.paths.certificate),
            path(&self.paths.key),
        )
    }

    fn value(&self) -> Value {
        json!({
            "name": self.issued.name,
            "serial": self.issued.serial,
            "fingerprint": self.issued.fingerprint,
            "not_after": rfc3339(self.issued.not_after),
            "key": self.paths.key,
            "certificate": self.paths.certificate,
            "ca": self.paths.ca,
            "settings": self.paths.settings,
            "host": self.host,
            "port": self.port,
            "mosquitto_pub": self.mosquitto(),
            "paho": self.paho(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(addresses: &[&str]) -> Reached {
        Reached {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            port: 8883,
        }
    }

    #[test]
    fn a_broker_on_loopback_is_reached_by_its_address() {
        assert_eq!(reached(&["127.0.0.1:8883"]).host(), "127.0.0.1");
        assert_eq!(reached(&["[::1]:1", "127.0.0.1:1"]).host(), "::1");
        assert!(!reached(&["0.0.0.0:8883"]).host().is_empty());
    }

    #[test]
    fn an_unspecified_address_takes_its_own_family_only() {
        let v4 = reached(&["0.0.0.0:8883"]);
        assert!(v4.listens_on("192.0.2.1".parse().unwrap()));
        assert!(!v4.listens_on("2001:db8::1".parse().unwrap()));
    }
}
