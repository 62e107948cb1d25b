//! Where the broker is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The host if none is named.
pub(super) const DEFAULT_HOST: &str = "localhost";
/// The port of MQTT over TLS.
pub(super) const DEFAULT_TLS_PORT: u16 = 8883;
/// The port of MQTT without it.
const DEFAULT_PLAIN_PORT: u16 = 1883;

/// `mqtts://HOST[:PORT]` or `mqtt://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// Whether it is encrypted.
    pub(crate) tls: bool,
}

impl Target {
    /// Over TLS, as everything that does not say otherwise.
    pub(super) fn tls(host: String, port: u16) -> Self {
        Self {
            host,
            port,
            tls: true,
        }
    }

    /// Host and port as in a URL.
    pub(crate) fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let allowed =
            || "allowed: mqtts://HOST[:PORT], or mqtt://HOST[:PORT] without encryption".to_owned();
        let (tls, rest) = match url.split_once("://") {
            Some(("mqtts", rest)) => (true, rest),
            Some(("mqtt", rest)) => (false, rest),
            _ => return Err(allowed()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(
                "a URL with a user name or password can be read by every user of this machine; \
                 use --user NAME and --password-file FILE"
                    .to_owned(),
            );
        }
        let (host, port) = split_port(rest).ok_or_else(allowed)?;
        if host.is_empty() || host.contains(['/', '?', '#']) {
            return Err(allowed());
        }
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(allowed)?,
            None if tls => DEFAULT_TLS_PORT,
            None => DEFAULT_PLAIN_PORT,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Host and port; an IPv6 address stands in brackets (RFC 3986 section 3.2.2).
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match port {
            "" => Some((host, None)),
            port => Some((host, Some(port.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Option<String> {
        url.parse::<Target>().ok().map(|target| target.to_string())
    }

    #[test]
    fn the_port_follows_from_the_scheme() {
        assert_eq!(
            read("mqtts://broker").as_deref(),
            Some("mqtts://broker:8883")
        );
        assert_eq!(
            read("mqtt://broker/").as_deref(),
            Some("mqtt://broker:1883")
        );
        assert_eq!(read("mqtts://[::1]:1").as_deref(), Some("mqtts://[::1]:1"));
        assert_eq!(read("mqtts://[::1]").as_deref(), Some("mqtts://[::1]:8883"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "broker",
            "http://a",
            "mqtts://",
            "mqtts://a:0",
            "mqtts://a:x",
            "mqtts://a/b",
            "mqtts://::1",
            "mqtts://[a]",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_without_repeating_it() {
        let error = "mqtts://anna:secret@broker".parse::<Target>().unwrap_err();
        assert!(error.contains("--password-file") && !error.contains("secret"));
    }
}
