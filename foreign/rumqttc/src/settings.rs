//! Where the broker is and who we are; `cargo xtask test` puts it into the environment.

use rumqttc::{TlsConfiguration, Transport};

#[derive(Clone)]
pub struct Settings {
    pub transport: String,
    host: String,
    port: u16,
    path: String,
    ca: Vec<u8>,
    /// Certificate and key as PEM.
    client_auth: Option<(Vec<u8>, Vec<u8>)>,
    /// User name and password.
    pub login: Option<(String, String)>,
    pub topics: String,
    /// Every scenario expects what nobody sends, and has to fail.
    pub plant_wrong: bool,
}

impl Settings {
    pub fn of_environment(transport: String) -> Result<Self, String> {
        let client_auth = match value("CERT").as_str() {
            "" => None,
            _ => Some((file("CERT")?, file("KEY")?)),
        };
        let login = match value("USER").as_str() {
            "" => None,
            user => Some((user.to_owned(), value("PASSWORD"))),
        };
        Ok(Self {
            transport,
            host: value("HOST"),
            port: value("PORT")
                .parse()
                .map_err(|error| format!("FOREIGN_PORT: {error}"))?,
            path: value("PATH"),
            ca: file("CA")?,
            client_auth,
            login,
            topics: value("TOPICS"),
            plant_wrong: value("PLANT_WRONG") == "yes",
        })
    }

    /// The same with a credential that must be refused: no certificate, or another password.
    pub fn wrong(&self) -> Self {
        let login = self
            .login
            .clone()
            .map(|(user, _)| (user, "not the password".to_owned()));
        Self {
            client_auth: None,
            login,
            ..self.clone()
        }
    }

    /// What rumqttc takes as host and port: a WebSocket wants the whole URL in place of the host.
    pub fn address(&self) -> (String, u16) {
        let Self {
            transport,
            host,
            port,
            path,
            ..
        } = self;
        match transport.as_str() {
            "ws" | "wss" => (format!("{transport}://{host}:{port}{path}"), *port),
            _ => (host.clone(), *port),
        }
    }

    pub fn transport(&self) -> Transport {
        let tls = TlsConfiguration::Simple {
            ca: self.ca.clone(),
            alpn: None,
            client_auth: self.client_auth.clone(),
        };
        match self.transport.as_str() {
            "ws" => Transport::Ws,
            "wss" => Transport::Wss(tls),
            _ => Transport::Tls(tls),
        }
    }
}

fn value(name: &str) -> String {
    std::env::var(format!("FOREIGN_{name}")).unwrap_or_default()
}

fn file(name: &str) -> Result<Vec<u8>, String> {
    let path = value(name);
    std::fs::read(&path).map_err(|error| format!("FOREIGN_{name}: {path}: {error}"))
}
