//! Which client speaks over what, and what each of them is asked to do.

/// A client library that others have written.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) transports: &'static [Transport],
    pub(crate) runner: Runner,
}

/// What starts a client's scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `foreign/python/run.py` with the client's name.
    Python,
    /// A script of `foreign/node`.
    Node(&'static str),
    /// The program of `foreign/rumqttc`.
    Rumqttc,
}

/// What carries MQTT, and by what a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TLS with user and password.
    Tls,
    /// TLS with a device certificate.
    Mtls,
    /// WebSocket with user and password.
    Ws,
    /// WebSocket over TLS with user and password.
    Wss,
}

impl Transport {
    pub(crate) const ALL: [Self; 4] = [Self::Tls, Self::Mtls, Self::Ws, Self::Wss];

    /// Its name for a client's program.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Mtls => "mtls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The listener's name in the broker's configuration.
    pub(crate) fn listener(self) -> &'static str {
        match self {
            Self::Tls | Self::Mtls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

pub(crate) const CLIENTS: &[Client] = &[
    Client {
        name: "mosquitto",
        transports: &[Transport::Tls, Transport::Mtls],
        runner: Runner::Python,
    },
    Client {
        name: "paho",
        transports: &Transport::ALL,
        runner: Runner::Python,
    },
    Client {
        name: "aiomqtt",
        transports: &Transport::ALL,
        runner: Runner::Python,
    },
    Client {
        name: "gmqtt",
        transports: &[Transport::Tls, Transport::Mtls],
        runner: Runner::Python,
    },
    Client {
        name: "node",
        transports: &Transport::ALL,
        runner: Runner::Node("run_node.js"),
    },
    Client {
        name: "chromium",
        transports: &[Transport::Ws, Transport::Wss],
        runner: Runner::Node("run_chromium.js"),
    },
    Client {
        name: "rumqttc",
        transports: &Transport::ALL,
        runner: Runner::Rumqttc,
    },
];

/// What every client does over every transport; its program has to tell of each.
pub(crate) const SCENARIOS: [&str; 11] = [
    "connect",
    "qos0",
    "qos1",
    "qos2",
    "retained",
    "will_delay",
    "shared",
    "persistent",
    "properties",
    "flow_in",
    "flow_out",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of docs/clients.md, without its head.
    fn rows() -> Vec<Vec<String>> {
        let page = std::fs::read_to_string(crate::root().join("docs/clients.md")).unwrap();
        let (_, table) = page.split_once("| client | TLS |").unwrap();
        table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells = line.trim_matches('|').split('|');
                cells.map(|cell| cell.trim().to_owned()).collect()
            })
            .collect()
    }

    #[test]
    fn the_page_says_of_every_client_over_what_it_is_tested() {
        let rows = rows();
        assert_eq!(rows.len(), CLIENTS.len());
        for (client, row) in CLIENTS.iter().zip(&rows) {
            assert!(row[0].contains(client.name), "{row:?}");
            for (transport, cell) in Transport::ALL.iter().zip(&row[1..]) {
                let is_tested = client.transports.contains(transport);
                assert_eq!(
                    cell == "yes",
                    is_tested,
                    "{}: {transport:?}: {cell}",
                    client.name
                );
            }
        }
    }

    #[test]
    fn every_runner_has_every_scenario() {
        for file in [
            "python/scenarios.py",
            "node/scenarios.js",
            "rumqttc/src/scenarios.rs",
        ] {
            let text = std::fs::read_to_string(crate::root().join("foreign").join(file)).unwrap();
            for scenario in SCENARIOS {
                assert!(text.contains(scenario), "{file} has no {scenario}");
            }
        }
    }
}
