//! Every row of `testdata/packets.txt`, both ways.
#![allow(clippy::unwrap_used, clippy::panic)]

mod meaning;

use std::collections::HashSet;

use moat_codec::packet_table::{Expect, Row, Sender, TOPIC_ALIAS_MAXIMUM, rows};
use moat_codec::{
    DecodeError, InboundAliases, Incoming, Limits, Packet, PacketType, Property, Version, checks,
};

/// Runs `check` on every row and reports all that fail, not only the first.
fn each_row(check: impl Fn(&Row) -> Result<(), String>) {
    let failures: Vec<_> = rows()
        .unwrap()
        .iter()
        .filter_map(|row| {
            check(row)
                .err()
                .map(|problem| format!("{}: {problem}", row.name))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} rows fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn must_be<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what} is {got:?}, expected {expected:?}"))
    }
}

#[test]
fn every_row_decodes_to_its_meaning_or_its_error() {
    each_row(|row| {
        let result = Packet::decode(&row.bytes, row.version, &Limits::default());
        match (&row.expect, result) {
            (Expect::Ok { meaning, .. }, Ok(packet)) => {
                must_be("meaning", meaning::meaning(&packet).as_str(), *meaning)
            }
            (Expect::AliasError { variant, reason }, Ok(Packet::Publish(publish))) => {
                let mut aliases = InboundAliases::new(TOPIC_ALIAS_MAXIMUM);
                let incoming =
                    Incoming::of(publish, &Limits::default()).map_err(|e| e.to_string())?;
                match aliases.resolve(&incoming) {
                    Err(error) => {
                        must_be("error", (error.name(), error.reason()), (*variant, *reason))
                    }
                    Ok(resolved) => Err(format!("resolves to {resolved:?}")),
                }
            }
            (Expect::DecodeError { variant, reason }, Err(error)) => {
                must_be("error", (error.name(), error.reason()), (*variant, *reason))
            }
            (expected, got) => Err(format!("gives {got:?}, expected {expected:?}")),
        }
    });
}

#[test]
fn every_accepted_row_encodes_to_its_canonical_bytes() {
    each_row(|row| {
        let Expect::Ok { canonical, .. } = &row.expect else {
            return Ok(());
        };
        let packet = Packet::decode(&row.bytes, row.version, &Limits::default())
            .map_err(|e| e.to_string())?;
        let mut out = vec![0xEE];
        let written = packet
            .encode(row.version, &mut out)
            .map_err(|e| e.to_string())?;
        must_be("size", written, canonical.len())?;
        must_be("encoding", &out[1..], &canonical[..])
    });
}

#[test]
fn every_row_passes_the_fuzz_targets_checks() {
    each_row(|row| {
        checks::decode(&row.bytes);
        checks::roundtrip(&row.bytes);
        Ok(())
    });
}

#[test]
fn every_prefix_of_an_accepted_row_is_incomplete() {
    each_row(|row| {
        let Expect::Ok { .. } = row.expect else {
            return Ok(());
        };
        for len in 0..row.bytes.len().min(2000) {
            let result = Packet::decode(&row.bytes[..len], row.version, &Limits::default());
            if len >= 2 || row.bytes.len() == 2 {
                must_be("decoded prefix", result, Err(DecodeError::NotOnePacket))?;
            }
        }
        Ok(())
    });
}

#[test]
fn table_is_large_and_its_names_are_unique() {
    let rows = rows().unwrap();
    assert!(rows.len() >= 300, "only {} rows", rows.len());
    let names: HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
    assert!(rows.iter().all(|row| !row.source.is_empty()));
}

#[test]
fn every_error_variant_has_a_row() {
    let rows = rows().unwrap();
    let met: HashSet<_> = rows
        .iter()
        .filter_map(|row| match row.expect {
            Expect::DecodeError { variant, .. } | Expect::AliasError { variant, .. } => {
                Some(variant)
            }
            Expect::Ok { .. } => None,
        })
        .collect();
    let missing: Vec<_> = DecodeError::NAMES
        .iter()
        .filter(|name| !met.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

#[test]
fn every_packet_has_an_accepted_and_a_refused_row_in_every_version() {
    let rows = rows().unwrap();
    for version in Version::ALL {
        for packet in PacketType::ALL {
            let of_this = || {
                let first = |row: &&Row| {
                    row.bytes
                        .first()
                        .copied()
                        .and_then(PacketType::of_first_byte)
                };
                rows.iter()
                    .filter(move |row| row.version == version && first(row) == Some(packet))
            };
            let accepted = of_this().any(|row| matches!(row.expect, Expect::Ok { .. }));
            assert_eq!(
                accepted,
                packet != PacketType::Auth || version.is_v5(),
                "{packet:?} {version}"
            );
            assert!(
                of_this().any(|row| matches!(row.expect, Expect::DecodeError { .. })),
                "{packet:?} {version}"
            );
        }
    }
}

#[test]
fn every_property_has_an_accepted_row() {
    // A property is met when some accepted packet holds its identifier: its name says so in the table.
    let rows = rows().unwrap();
    for id in Property::IDS.iter().filter(|&&id| id != 0x26) {
        let refused = format!("property-{id:02x}-in-");
        assert!(
            rows.iter().any(|row| row.name.starts_with(&refused)),
            "0x{id:02x} is never misplaced"
        );
    }
    for id in Property::IDS {
        let accepted = rows.iter().any(|row| {
            row.version.is_v5() && matches!(row.expect, Expect::Ok { .. }) && row.bytes.contains(id)
        });
        assert!(accepted, "0x{id:02x} is never accepted");
    }
}

#[test]
fn rows_of_a_server_are_what_only_a_server_may_send() {
    for row in rows()
        .unwrap()
        .iter()
        .filter(|row| row.sender == Sender::Client)
    {
        let packet = row
            .bytes
            .first()
            .copied()
            .and_then(PacketType::of_first_byte);
        let servers = [
            PacketType::ConnAck,
            PacketType::SubAck,
            PacketType::UnsubAck,
            PacketType::PingResp,
        ];
        assert!(
            !packet.is_some_and(|packet| servers.contains(&packet)),
            "{}",
            row.name
        );
    }
}

#[test]
fn connect_is_told_apart_by_version_even_when_the_rest_is_broken() {
    use moat_codec::Connect;
    let rows = rows().unwrap();
    let version_of = |name: &str| {
        let row = rows.iter().find(|row| row.name == name).unwrap();
        Connect::peek_version(&row.bytes)
    };
    assert_eq!(version_of("connect-reserved-flag-v5"), Some(Version::V5));
    assert_eq!(version_of("connect-will-qos3-v311"), Some(Version::V311));
    assert_eq!(
        version_of("connect-client-id-with-nul-v31"),
        Some(Version::V31)
    );
    assert_eq!(version_of("connect-mqtt-level-6"), None);
    assert_eq!(version_of("publish-qos0-v5"), None);
    assert_eq!(version_of("frame-cut-v5"), None);
}
