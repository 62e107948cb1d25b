//! What `moat start` prints once it serves: where, with which trust, and what to type next.

use moat_config::{ClientAuth, Listener, Protocol};
use serde_json::{Value, json};

use crate::output::Output;

/// The column at which the values begin.
const VALUE_COLUMN: usize = 12;

/// What the banner tells.
#[derive(Debug)]
pub(crate) struct Banner {
    /// Each listener with the addresses it got.
    pub(crate) listeners: Vec<(Listener, Vec<String>)>,
    /// The CA's fingerprint and file; `None` with `--dev`.
    pub(crate) ca: Option<(String, String)>,
    /// The data folder, and whether this start has made it.
    pub(crate) data: String,
    /// See `data`.
    pub(crate) is_new: bool,
    /// Where the configuration comes from.
    pub(crate) config: String,
    /// Where the log goes.
    pub(crate) log: String,
    /// Who the process is and what it gave up.
    pub(crate) runs_as: String,
    /// What the next command needs to find the data folder.
    pub(crate) data_argument: String,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
    /// Whether this is `--dev`.
    pub(crate) is_dev: bool,
}

impl Banner {
    /// Prints it.
    pub(crate) fn print(&self, output: &Output) {
        output.result(&self.text(output), || self.value());
    }

    fn text(&self, output: &Output) -> String {
        let mut lines =
            vec![output.strong(&format!("moat {} serves MQTT", env!("CARGO_PKG_VERSION")))];
        let mut row = |name: &str, value: &str| {
            lines.push(format!("  {name:VALUE_COLUMN$}{value}"));
        };
        for (listener, addresses) in &self.listeners {
            row("listens on", &described(listener, addresses));
        }
        if let Some((fingerprint, file)) = &self.ca {
            row("CA", &format!("SHA-256 {fingerprint}"));
            row("CA file", file);
        }
        let new = if self.is_new { " (new)" } else { "" };
        row("data", &format!("{}{new}", self.data));
        row("config", &self.config);
        row("log", &self.log);
        row("runs as", &self.runs_as);
        for warning in &self.warnings {
            row("warning", warning);
        }
        for (name, command) in self.next() {
            lines.push(format!("  {name:VALUE_COLUMN$}{}", output.strong(&command)));
        }
        lines.join("\n")
    }

    /// The next commands.
    fn next(&self) -> Vec<(&'static str, String)> {
        let data = &self.data_argument;
        if self.is_dev {
            return vec![("status", format!("moat status{data}"))];
        }
        vec![
            ("next", format!("moat device add NAME{data}")),
            ("or", format!("moat user add NAME{data}")),
            ("status", format!("moat status{data}")),
        ]
    }

    fn value(&self) -> Value {
        let listeners: Vec<Value> = self
            .listeners
            .iter()
            .map(|(listener, addresses)| {
                json!({
                    "name": listener.name,
                    "protocol": listener.protocol.word(),
                    "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "listeners": listeners,
            "ca_fingerprint": self.ca.as_ref().map(|(fingerprint, _)| fingerprint),
            "ca_file": self.ca.as_ref().map(|(_, file)| file),
            "data": self.data,
            "is_new": self.is_new,
            "warnings": self.warnings,
        })
    }
}

/// The addresses of a listener, and what it asks of those who come.
fn described(listener: &Listener, addresses: &[String]) -> String {
    let is_tls = listener.protocol.is_tls();
    let who = match (listener.anonymous, is_tls, listener.client_auth) {
        (true, ..) => "anybody, no identity needed",
        (_, true, ClientAuth::Required) => "certificate needed",
        (_, true, ClientAuth::Requested) => "certificate, or user and password",
        _ => "user and password",
    };
    let transport = match listener.protocol {
        Protocol::Tls => "TLS",
        Protocol::Tcp => "plain, without TLS",
        Protocol::Wss => "WebSocket over TLS",
        Protocol::Ws => "plain WebSocket, without TLS",
        Protocol::Unix if listener.socket_mode.is_for_all() => "everybody on this machine",
        Protocol::Unix if listener.socket_mode.is_for_group() => "its user and group",
        Protocol::Unix => "its user",
    };
    format!("{} ({transport}; {who})", addresses.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner() -> Banner {
        let config = moat_config::Config::default();
        Banner {
            listeners: vec![(
                config.listeners[0].clone(),
                vec!["[::]:8883".into(), "0.0.0.0:8883".into()],
            )],
            ca: Some(("AB:CD".into(), "moat-data/pki/ca.crt".into())),
            data: "moat-data".into(),
            is_new: true,
            config: "defaults".into(),
            log: "standard error".into(),
            runs_as: "moat".into(),
            data_argument: String::new(),
            warnings: Vec::new(),
            is_dev: false,
        }
    }

    #[test]
    fn it_is_about_a_dozen_lines_with_address_fingerprint_and_next_command() {
        let text = banner().text(&Output::new(true));
        assert!((9..=13).contains(&text.lines().count()), "{text}");
        for part in [
            "0.0.0.0:8883",
            "SHA-256 AB:CD",
            "moat device add NAME",
            "standard error",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn it_says_so_when_anybody_gets_in() {
        let mut banner = banner();
        banner.listeners[0].0 = Listener::dev(1883);
        let text = banner.text(&Output::new(true));
        assert!(text.contains("plain, without TLS; anybody"), "{text}");
    }
}
