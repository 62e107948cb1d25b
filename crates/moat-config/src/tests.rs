//! The file as an operator writes it: exact error texts, defaults, the generated pages.

use std::fs;
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::*;
use crate::section::{FieldSpec, SectionSpec};
use crate::setting::Kind;

fn config(text: &str) -> Config {
    match parse("moat.toml", text) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

fn errors(text: &str) -> String {
    parse("moat.toml", text).unwrap_err().to_string()
}

fn warnings(text: &str) -> String {
    let warnings = parse("moat.toml", text).unwrap().warnings;
    let lines: Vec<String> = warnings.iter().map(ConfigWarning::to_string).collect();
    lines.join("\n")
}

/// A file that sets one key of a section.
fn setting(spec: &SectionSpec, key: &str, value: &str) -> String {
    // Keys that need another one to make sense.
    let beside = match key {
        "certificate" => "key = \"k\"",
        "key" => "certificate = \"c\"",
        "protocol" => "bind = [\"127.0.0.1:1883\"]",
        _ => "",
    };
    format!("{}\n{beside}\n{key} = {value}\n", spec.header)
}

#[test]
fn an_empty_file_is_the_default_without_warnings() {
    let loaded = parse("moat.toml", "").unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_default_listens_with_tls_and_wss_on_every_address() {
    let config = Config::default();
    let [listener, websocket] = config.listeners.as_slice() else {
        panic!("{:?}", config.listeners);
    };
    assert_eq!(
        (websocket.name.as_str(), websocket.protocol),
        ("wss-8084", Protocol::Wss)
    );
    assert_eq!(websocket.bind[1], "0.0.0.0:8084".parse().unwrap());
    assert_eq!(websocket.path, "/mqtt");
    assert!(websocket.origins.is_empty() && !websocket.anonymous);
    assert_eq!(websocket.client_auth, ClientAuth::Off);
    assert_eq!(listener.name, "tls-8883");
    assert_eq!(
        listener.bind,
        [
            "[::]:8883".parse().unwrap(),
            "0.0.0.0:8883".parse().unwrap()
        ]
    );
    assert_eq!(listener.protocol, Protocol::Tls);
    assert_eq!(listener.client_auth, ClientAuth::Requested);
    assert!(!listener.anonymous);
}

#[test]
fn a_full_file_is_read() {
    let config = config(
        r#"
user = "moat"
shards = 2

[[listener]]
name = "plant"
bind = ["127.0.0.1:0"]
client_auth = "required"
client_id = "is-identity"
identity_from = "san-dns"

[[listener]]
protocol = "tcp"
bind = ["127.0.0.1:1883"]

[limits]
packet_bytes_max = "4 MiB"
keep_alive_secs_max = "20 m"
queued_messages_max = 0

[tls]
version_min = "tlsv1.3"

[log]
format = "json"
destination = "log/moat.log"
level = "notice"
"#,
    );
    assert_eq!(config.user.as_deref(), Some("moat"));
    assert_eq!(config.shards, Shards::Count(NonZeroU16::new(2).unwrap()));
    let [plant, plain] = config.listeners.as_slice() else {
        panic!("{:?}", config.listeners);
    };
    assert_eq!(plant.name, "plant");
    assert_eq!(plant.client_id, ClientIdMode::IsIdentity);
    assert_eq!(plant.identity_from, IdentityFrom::SanDns);
    assert_eq!(plain.name, "tcp-1883");
    assert_eq!(plain.client_auth, ClientAuth::Off);
    assert_eq!(config.limits.packet_bytes_max.get(), 4 * 1024 * 1024);
    assert_eq!(config.limits.keep_alive_secs_max.get(), 1200);
    assert_eq!(config.limits.queued_messages_max, 0);
    assert_eq!(config.tls.version_min, TlsVersion::V1_3);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(
        config.log.destination,
        LogDestination::File(PathBuf::from("log/moat.log"))
    );
}

#[test]
fn a_misspelt_key_names_the_nearest() {
    assert_eq!(
        errors("shards = 1\n\n[[listner]]\nname = \"a\"\n"),
        "moat.toml:3:3: unknown key \"listner\" in the file; allowed: user, shards, sys_interval_secs, sys_version, listener, \
         tls, mqtt, auth, policy, limits, store, log; did you mean \"listener\"?"
    );
    assert_eq!(
        errors("[tls]\n  verson_min = \"tlsv1.3\"\n"),
        "moat.toml:2:3: unknown key \"verson_min\" in [tls]; allowed: version_min, ca_depth_max; did you mean \
         \"version_min\"?"
    );
}

#[test]
fn a_key_of_another_section_is_sent_there() {
    assert_eq!(
        errors("[tls]\nformat = \"json\"\n"),
        "moat.toml:2:1: unknown key \"format\" in [tls]; allowed: version_min, ca_depth_max; format is a key of [log]"
    );
}

#[test]
fn wrong_values_name_what_is_allowed() {
    let cases = [
        (
            "shards = 0",
            "1:10: shards is 0; allowed: \"auto\" or 1 to 64",
        ),
        (
            "shards = 65",
            "1:10: shards is 65; allowed: \"auto\" or 1 to 64",
        ),
        (
            "shards = \"atuo\"",
            "1:10: shards is \"atuo\"; allowed: \"auto\" or 1 to 64; did you mean \"auto\"?",
        ),
        (
            "user = \"a b\"",
            "1:8: user is \"a b\"; allowed: 1 to 64 letters, digits, \"-\", \"_\" and \".\"",
        ),
        (
            "[log]\nformat = \"jsno\"",
            "2:10: log.format is \"jsno\"; allowed: \"text\", \"json\"; did you mean \"json\"?",
        ),
        (
            "[limits]\nsessions_max = -1",
            "2:16: limits.sessions_max is -1; allowed: 1 to 100000000",
        ),
        (
            "[limits]\nsessions_max = 1.5",
            "2:16: limits.sessions_max is 1.5; allowed: 1 to 100000000",
        ),
        (
            "[limits]\npacket_bytes_max = \"1 MB\"",
            "2:20: limits.packet_bytes_max is \"1 MB\"; allowed: 128 to 268435455 bytes, or with a unit like \
             \"2 MiB\" (B, KiB, MiB, GiB)",
        ),
        (
            "[limits]\nkeep_alive_secs_max = \"1 d\"",
            "2:23: limits.keep_alive_secs_max is \"1 d\"; allowed: 1 to 65535 seconds, or with a unit like \"5 m\" \
             (s, m, h, d)",
        ),
        (
            "[[listener]]\nbind = [\"0.0.0.0:8883\", \"localhost\"]",
            "2:25: listener.bind is \"localhost\"; allowed: a list of 1 to 16 addresses with ports, like \
             [\"0.0.0.0:8883\", \"[::]:8883\"]",
        ),
        (
            "[[listener]]\nanonymous = \"yes\"",
            "2:13: listener.anonymous is \"yes\"; allowed: true or false",
        ),
        (
            "[policy]\nfiles = []",
            "2:9: policy.files is an empty list; allowed: a list of 1 to 16 paths of files, like [\"policy.toml\"]",
        ),
        (
            "[auth]\nusers = {}",
            "2:9: auth.users is a table; allowed: the path of a file as a string",
        ),
        (
            "limits = 3",
            "1:10: limits is 3; allowed: a section [limits]",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), format!("moat.toml:{expected}"), "{text}");
    }
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    assert_eq!(
        errors(
            "shards = 0\n[limits]\nx = 1\nsessions_max = 0\n[[listener]]\ncertificate = \"a\"\n"
        ),
        "moat.toml:1:10: shards is 0; allowed: \"auto\" or 1 to 64\n".to_owned()
            + &format!(
                "moat.toml:3:1: unknown key \"x\" in [limits]; allowed: {}\n",
                keys_of("limits")
            )
            + "moat.toml:4:16: limits.sessions_max is 0; allowed: 1 to 100000000\n"
            + "moat.toml:6:15: listener.certificate without listener.key; write both, or none to use the certificate \
               moat makes"
    );
}

fn keys_of(name: &str) -> String {
    let specs = Config::specs();
    let spec = specs.iter().find(|spec| spec.name() == name).unwrap();
    let keys: Vec<&str> = spec.fields.iter().map(|field| field.key).collect();
    keys.join(", ")
}

#[test]
fn a_wrong_value_causes_no_second_error() {
    assert_eq!(
        errors("[[listener]]\nprotocol = \"tcp\"\nbind = [\"localhost:1883\"]\n[[listener]]\n"),
        "moat.toml:3:9: listener.bind is \"localhost:1883\"; allowed: a list of 1 to 16 addresses with ports, like \
         [\"0.0.0.0:8883\", \"[::]:8883\"]"
    );
}

#[test]
fn broken_toml_is_placed() {
    assert_eq!(
        errors("shards = 2\nuser = \"moat\n"),
        "moat.toml:2:13: not valid TOML: invalid basic string, expected `\"`"
    );
    assert_eq!(
        errors("shards = 2\nshards = 3\n"),
        "moat.toml:2:1: not valid TOML: duplicate key"
    );
}

#[test]
fn a_single_bracket_listener_is_explained() {
    assert_eq!(
        errors("[listener]\nname = \"a\"\n"),
        "moat.toml:1:1: listener is a table; write [[listener]] with two brackets, since there may be several"
    );
}

#[test]
fn a_plain_listener_must_name_its_addresses_and_is_warned_about() {
    assert_eq!(
        errors("[[listener]]\nprotocol = \"tcp\"\n"),
        "moat.toml:2:12: a listener with protocol = \"tcp\" needs bind; write the addresses down, for example \
         bind = [\"127.0.0.1:1883\"]"
    );
    let plain = |address| format!("[[listener]]\nprotocol = \"tcp\"\nbind = [\"{address}\"]\n");
    assert_eq!(
        warnings(&plain("0.0.0.0:1883")),
        "moat.toml:2:12: listener \"tcp-1883\" on 0.0.0.0:1883 has no TLS: everybody between client and broker can \
         read and change user names, passwords and messages"
    );
    assert_eq!(
        warnings(&plain("127.0.0.1:1883")),
        "moat.toml:2:12: listener \"tcp-1883\" on 127.0.0.1:1883 has no TLS: every user and program of this machine \
         can connect and read along"
    );
}

#[test]
fn a_server_reference_is_a_list_of_hosts() {
    let read = |reference: &str| {
        let text = format!("[mqtt]\nserver_reference = \"{reference}\"\n");
        parse("moat.toml", &text).map(|loaded| loaded.config.mqtt)
    };
    for good in [
        "host",
        "mqtt-2.example.org:8883",
        "192.0.2.7",
        "[2001:db8::7]:8883 [::1] other_host:1",
    ] {
        assert_eq!(read(good).unwrap().server_reference.as_deref(), Some(good));
    }
    let too_long = "h".repeat(1025);
    for bad in [
        "", " ", "a  b", "a:0", "a:65536", "a:", ":1", "[::1", "[a]:1", "mqtt://a", "a/b",
        &too_long,
    ] {
        let errors = read(bad).unwrap_err().to_string();
        assert!(
            errors.contains("mqtt.server_reference"),
            "{bad:?}: {errors}"
        );
    }
}

#[test]
fn a_unix_listener_needs_a_socket_and_has_no_addresses() {
    assert_eq!(
        errors("[[listener]]\nprotocol = \"unix\"\n"),
        "moat.toml:2:12: a listener with protocol = \"unix\" needs socket; write its path down, for example \
         socket = \"/run/moat/mqtt.sock\""
    );
    let unix = |more: &str| {
        format!("[[listener]]\nprotocol = \"unix\"\nsocket = \"/run/m.sock\"\n{more}\n")
    };
    for (more, part) in [
        ("bind = [\"127.0.0.1:1883\"]", "has no addresses"),
        ("client_auth = \"required\"", "has no certificates"),
        ("certificate = \"c\"", "has no certificates"),
        ("socket_mode = \"0999\"", "\"0600\" to \"0777\""),
        // 660 in decimal is 01224.
        ("socket_mode = 660", "\"0600\" to \"0777\""),
        ("socket_mode = \"0466\"", "\"0600\" to \"0777\""),
    ] {
        let error = errors(&unix(more));
        assert!(error.contains(part), "{more}: {error}");
    }
    let loaded = config(&unix(""));
    let listener = &loaded.listeners[0];
    assert_eq!(listener.name, "unix");
    assert_eq!(listener.client_auth, ClientAuth::Off);
    assert_eq!(listener.socket_mode, FileMode::new(0o660));
    assert!(listener.bind.is_empty() && !listener.anonymous);
    let octal = config(&unix("socket_mode = 0o600"));
    assert_eq!(octal.listeners[0].socket_mode.to_string(), "0600");
}

#[test]
fn what_the_durability_does_not_promise_is_told() {
    assert_eq!(warnings("[store]\ndurability = \"fsync\"\n"), "");
    assert_eq!(
        warnings("[store]\ndurability = \"os\"\n"),
        "moat.toml:2:14: store.durability is \"os\": a power cut or a crash of the machine loses messages of the last seconds \
         that were acknowledged"
    );
    assert_eq!(
        warnings("[store]\ndurability = \"none\"\npath = \"s\"\nqueue_full = \"drop-oldest\"\n"),
        "moat.toml:2:14: store.durability is \"none\": every end of moat loses all sessions, subscriptions, queued and \
         retained messages, though they were acknowledged\n\
         moat.toml:3:8: store.path has no effect with durability = \"none\", which stores nothing; remove path"
    );
}

#[test]
fn a_packet_that_cannot_be_stored_is_refused_unless_nothing_is() {
    let large = "[limits]\npacket_bytes_max = \"9 MiB\"\n";
    assert_eq!(
        errors(large),
        "moat.toml:2:20: limits.packet_bytes_max is 9437184; allowed: at most 8388608, unless store.durability is \"none\""
    );
    config(&format!("{large}[store]\ndurability = \"none\"\n"));
    config("[limits]\npacket_bytes_max = \"8 MiB\"\n");
}

#[test]
fn the_store_is_in_the_data_folder_and_dev_has_none() {
    let config = config("").with_data_folder(&PathBuf::from("/data"));
    assert_eq!(config.store.path, PathBuf::from("/data/store"));
    assert_eq!(config.store.durability, Durability::Fsync);
    assert_eq!(Config::dev(1883).store.durability, Durability::None);
}

#[test]
fn who_can_connect_to_a_unix_listener_is_told() {
    let unix = |more: &str| {
        format!("[[listener]]\nprotocol = \"unix\"\nsocket = \"/run/m.sock\"\n{more}\n")
    };
    assert_eq!(warnings(&unix("")), "");
    assert_eq!(
        warnings(&unix("socket_mode = \"0666\"")),
        "moat.toml:4:15: listener \"unix\" on unix:/run/m.sock has socket_mode = \"0666\": every user and program of \
         this machine can connect"
    );
    for (mode, who) in [
        ("0600", "lets the user the broker runs as in"),
        ("0660", "lets the user and the group the broker runs as in"),
        ("0666", "lets every user and program of this machine in"),
    ] {
        let text = warnings(&unix(&format!(
            "anonymous = true\nsocket_mode = \"{mode}\""
        )));
        assert!(text.contains(who), "{text}");
    }
    let none = warnings("[[listener]]\nsocket = \"/run/m.sock\"\nsocket_mode = \"0600\"\n");
    assert!(none.matches("has no effect").count() == 2, "{none}");
    let twice = errors(&format!("{}name = \"other\"\n", unix("").repeat(2)));
    assert!(
        twice.contains("already the socket of listener \"unix\""),
        "{twice}"
    );
    let long = "x".repeat(SOCKET_PATH_BYTES_MAX);
    let long = errors(&format!(
        "[[listener]]\nprotocol = \"unix\"\nsocket = \"/{long}\"\n"
    ));
    assert!(long.contains("108 bytes; allowed: at most 107"), "{long}");
}

#[test]
fn a_plain_websocket_listener_must_name_its_addresses_too() {
    let error = errors("[[listener]]\nprotocol = \"ws\"\n");
    assert!(
        error.contains("\"ws\" needs bind") && error.contains(":8083"),
        "{error}"
    );
    let loaded = config(
        "[[listener]]\nprotocol = \"wss\"\npath = \"/\"\norigins = [\"https://a.example:8443\"]\n",
    );
    let listener = &loaded.listeners[0];
    assert_eq!(
        (listener.name.as_str(), listener.path.as_str()),
        ("wss-8084", "/")
    );
    for bad in [
        "path = \"mqtt\"",
        "path = \"/a b\"",
        "origins = [\"*\"]",
        "origins = [\"https://A.example/\"]",
    ] {
        let error = errors(&format!("[[listener]]\nprotocol = \"wss\"\n{bad}\n"));
        assert!(error.contains("allowed: "), "{bad}: {error}");
    }
}

#[test]
fn certificates_on_a_plain_listener_are_refused() {
    assert_eq!(
        errors(
            "[[listener]]\nprotocol = \"tcp\"\nbind = [\"127.0.0.1:1\"]\nclient_auth = \"required\"\nkey = \"k\"\n"
        ),
        "moat.toml:4:15: listener.client_auth is \"required\" with protocol = \"tcp\", which has no certificates; use \
         protocol = \"tls\" or remove client_auth\n\
         moat.toml:5:7: listener.key with protocol = \"tcp\", which has no certificates; use protocol = \"tls\" or \
         remove key"
    );
}

#[test]
fn a_websocket_listener_asks_for_certificates_only_if_that_is_written() {
    for (keys, expected) in [
        ("", ClientAuth::Off),
        ("client_ca = \"ca.pem\"", ClientAuth::Requested),
        ("client_auth = \"required\"", ClientAuth::Required),
    ] {
        let config = config(&format!("[[listener]]\nprotocol = \"wss\"\n{keys}\n"));
        assert_eq!(config.listeners[0].client_auth, expected, "{keys}");
    }
}

#[test]
fn a_client_ca_that_is_never_used_is_refused() {
    assert_eq!(
        errors("[[listener]]\nclient_auth = \"off\"\nclient_ca = \"ca.pem\"\n"),
        "moat.toml:3:13: listener.client_ca with client_auth = \"off\", where no client is asked for a certificate; \
         remove one of them"
    );
}

#[test]
fn anonymous_is_a_warning() {
    assert_eq!(
        warnings("[[listener]]\nanonymous = true\nbind = [\"0.0.0.0:8883\"]\n"),
        "moat.toml:2:13: listener \"tls-8883\" on 0.0.0.0:8883 lets everybody who reaches it in without an identity: \
         the policy's rules for the identity \"<anonymous>\" hold for them"
    );
    assert_eq!(
        warnings("[[listener]]\nanonymous = true\nclient_auth = \"required\"\n"),
        "moat.toml:2:13: listener \"tls-8883\" has anonymous = true without effect: client_auth = \"required\" lets \
         nobody in without a certificate"
    );
}

#[test]
fn listeners_share_neither_name_nor_address() {
    assert_eq!(
        errors(
            "[[listener]]\nname = \"a\"\nbind = [\"127.0.0.1:1\"]\n[[listener]]\nname = \"a\"\nbind = [\"127.0.0.1:1\"]\n"
        ),
        "moat.toml:5:8: two listeners have the name \"a\"; give each its own\n\
         moat.toml:6:8: 127.0.0.1:1 is already an address of listener \"a\"; each address serves one listener"
    );
    let free = "[[listener]]\nname = \"a\"\nbind = [\"127.0.0.1:0\"]\n[[listener]]\nname = \"b\"\nbind = [\"127.0.0.1:0\"]\n";
    assert_eq!(config(free).listeners.len(), 2);
}

#[test]
fn more_listeners_than_the_limit_are_refused() {
    let listeners = |count: usize| -> String {
        (0..count)
            .map(|number| format!("[[listener]]\nname = \"l{number}\"\nbind = [\"127.0.0.1:0\"]\n"))
            .collect()
    };
    assert_eq!(
        config(&listeners(LISTENERS_MAX)).listeners.len(),
        LISTENERS_MAX
    );
    assert_eq!(
        errors(&listeners(LISTENERS_MAX + 1)),
        "moat.toml:1:1: 65 listeners; allowed: at most 64"
    );
}

#[test]
fn limits_that_contradict_each_other_are_told() {
    assert_eq!(
        errors("[limits]\nconnections_max = 64\n"),
        "moat.toml:1:1: limits.new_address_connections_reserve is 64; allowed: less than limits.connections_max, \
         which is 64"
    );
    assert_eq!(
        warnings("[limits]\nqueued_bytes_max = \"64 KiB\"\n"),
        "moat.toml:2:20: limits.queued_bytes_max is 65536, less than limits.packet_bytes_max, which is 1048576: the \
         largest messages can never be queued and are dropped for clients that are absent"
    );
}

#[test]
fn every_key_has_a_doc_a_default_and_an_example_that_parses() {
    for spec in Config::specs() {
        assert!(spec.doc.ends_with('.'), "{}", spec.header);
        for field in &spec.fields {
            let path = spec.path(field.key);
            assert!(field.doc.ends_with('.'), "{path}");
            assert!(
                field.doc.starts_with(char::is_uppercase),
                "{path}: {}",
                field.doc
            );
            assert!(field.default.is_some() || field.unset.is_some(), "{path}");
            let text = setting(&spec, field.key, field.example);
            if let Err(errors) = parse("moat.toml", &text) {
                panic!("{path}: {errors}");
            }
            assert_ne!(Some(field.example), field.default.as_deref(), "{path}");
        }
    }
}

#[test]
fn every_default_can_be_written() {
    for spec in Config::specs() {
        for field in &spec.fields {
            let path = spec.path(field.key);
            let Some(default) = &field.default else {
                continue;
            };
            let read = config(&setting(&spec, field.key, default));
            let mut unset = config(&setting(&spec, "", "").replace(" = \n", ""));
            if field.key == "protocol" {
                unset.listeners[0].bind = read.listeners[0].bind.clone();
                unset.listeners[0].name = read.listeners[0].name.clone();
            }
            assert_eq!(read, unset, "{path} = {default}");
        }
    }
}

#[test]
fn every_bound_fits_its_type() {
    for spec in Config::specs() {
        for field in &spec.fields {
            let (min, max) = match field.kind {
                Kind::Count { min, max } | Kind::Bytes { min, max } | Kind::Secs { min, max } => {
                    (min, max)
                }
                _ => continue,
            };
            assert_within(&spec, field, min, true);
            assert_within(&spec, field, max, true);
            assert_within(&spec, field, max + 1, false);
            if min > 0 {
                assert_within(&spec, field, min - 1, false);
            }
        }
    }
}

fn assert_within(spec: &SectionSpec, field: &FieldSpec, value: u64, expected: bool) {
    let text = setting(spec, field.key, &value.to_string());
    let path = spec.path(field.key);
    let complains = match parse("moat.toml", &text) {
        Ok(_) => false,
        Err(errors) => errors.to_string().contains(&format!(
            "{path} is {value}; allowed: {}",
            field.kind.allowed()
        )),
    };
    assert_eq!(!complains, expected, "{path} = {value}");
}

#[test]
fn the_limits_of_dev_may_be_written_too() {
    let dev = Limits::dev();
    let mut text = String::from("[store]\ndurability = \"none\"\n[limits]\n");
    // The debug form has the fields' names and numbers, and nothing else of it is relied on.
    for field in Limits::default_fields() {
        let debug = format!("{dev:?}");
        let (_, rest) = debug.split_once(&format!("{field}: ")).unwrap();
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        text += &format!("{field} = {number}\n");
    }
    assert_eq!(config(&text).limits, dev);
}

impl Limits {
    fn default_fields() -> Vec<&'static str> {
        use crate::section::Section;
        Self::spec().fields.iter().map(|field| field.key).collect()
    }
}

#[test]
fn the_example_file_parses_with_and_without_its_keys() {
    let example = reference::example();
    assert_eq!(config(&example), Config::default());
    let read = config(&uncommented(&example));
    assert_eq!(read.limits, Limits::default());
    assert_eq!(read.tls, Tls::default());
    assert_eq!(read.log, Log::default());
    assert!(
        example.lines().all(|line| line.chars().count() <= 120),
        "a line is too long to read"
    );
}

/// The example file with every key set.
fn uncommented(example: &str) -> String {
    let uncomment = |line| match str::strip_prefix(line, "#") {
        Some(key) if !key.starts_with(' ') => key,
        _ => line,
    };
    let lines: Vec<&str> = example.lines().map(uncomment).collect();
    lines.join("\n")
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let whole = uncommented(&reference::example());
    let keys: Vec<&str> = whole
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let text = keys.join("\n");
    let mut refused = 0;
    for cut in 0..text.len() {
        let (before, after) = text.split_at(cut);
        refused += usize::from(parse("moat.toml", before).is_err());
        // One character replaced by one that opens something, or that TOML forbids.
        for wrong in ["\"", "[", "\0", "ä"] {
            let damaged = format!("{before}{wrong}{}", after.get(1..).unwrap_or(""));
            if cut % 7 == 0 {
                refused += usize::from(parse("moat.toml", &damaged).is_err());
            }
        }
    }
    assert!(refused > text.len() / 2, "{refused}");
}

#[test]
fn the_reference_and_the_schema_have_every_key() {
    let page = reference::markdown();
    let schema: serde_json::Value = serde_json::from_str(&reference::json_schema()).unwrap();
    for spec in Config::specs() {
        let keys = match spec.header {
            "" => &schema["properties"],
            "[[listener]]" => &schema["properties"]["listener"]["items"]["properties"],
            _ => &schema["properties"][spec.name()]["properties"],
        };
        for field in &spec.fields {
            assert!(page.contains(&format!("\n| `{}` | ", field.key)));
            assert_eq!(keys[field.key]["description"], field.doc);
        }
    }
    let packet = &schema["properties"]["limits"]["properties"]["packet_bytes_max"];
    assert_eq!(packet["default"], "1 MiB");
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.toml");
    fs::write(
        &path,
        "[auth]\nusers = \"people\"\n[policy]\nfiles = [\"/etc/p.toml\"]\n",
    )
    .unwrap();
    let config = load(&path).unwrap().config;
    assert_eq!(config.auth.users, folder.path().join("people"));
    assert_eq!(config.policy.files, [PathBuf::from("/etc/p.toml")]);
}

#[test]
fn default_paths_start_at_the_data_folder() {
    let text =
        "[[listener]]\ncertificate = \"/c\"\nkey = \"k\"\n[log]\ndestination = \"moat.log\"\n";
    let config = config(text).with_data_folder(Path::new("/data"));
    assert_eq!(config.auth.users, PathBuf::from("/data/users"));
    assert_eq!(config.policy.files, [PathBuf::from("/data/policy.toml")]);
    assert_eq!(config.listeners[0].certificate, Some(PathBuf::from("/c")));
    assert_eq!(config.listeners[0].key, Some(PathBuf::from("/data/k")));
    assert_eq!(
        config.log.destination,
        LogDestination::File(PathBuf::from("/data/moat.log"))
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.toml");
    let name = path.display().to_string();
    let error = load(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{name}: cannot be read: No such file")),
        "{error}"
    );
    fs::write(&path, b"user = \"\xff\"").unwrap();
    assert_eq!(
        load(&path).unwrap_err().to_string(),
        format!("{name}: cannot be read: byte 9 is not UTF-8")
    );
}

#[test]
fn a_file_larger_than_the_limit_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.toml");
    let longest = usize::try_from(CONFIG_BYTES_MAX).unwrap();
    fs::write(&path, "#".repeat(longest)).unwrap();
    assert!(load(&path).is_ok());
    fs::write(&path, "#".repeat(longest + 1)).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("cannot be read: it is larger than 1048576 bytes; is it the right file?"),
        "{error}"
    );
}

#[test]
fn dev_listens_on_loopback_only() {
    let config = Config::dev(1883);
    assert_eq!(config.listeners.len(), 1);
    for address in &config.listeners[0].bind {
        assert!(address.ip().is_loopback());
        assert_eq!(address.port(), 1883);
    }
}
