//! Numbers and durations as people write them, each with its bounds.

use std::time::Duration;

/// Connections of one process at most: each takes a descriptor and a port of this machine.
const CLIENTS_MAX: usize = 20_000;
/// Pairs at most; each is two connections.
const PAIRS_MAX: usize = CLIENTS_MAX / 2;
/// Connections that `moat bench connect` opens at the same time, at most.
const CONCURRENCY_MAX: usize = 1_000;
/// Messages and connections that can be asked for.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// The largest payload. Unit: bytes.
const SIZE_BYTES_MAX: usize = 8 << 20;
/// Messages of one client that wait for their acknowledgement, at most: there are no more packet identifiers.
const INFLIGHT_MAX: u16 = u16::MAX;
/// Those that wait if nothing else is said; moat takes as many unless it is configured otherwise.
pub(crate) const INFLIGHT_DEFAULT: u16 = 20;
/// The highest rate. Unit: messages per second.
const RATE_PER_SEC_MAX: u64 = 10_000_000;
/// The longest run. Unit: seconds.
const FOR_SECS_MAX: u64 = 7 * 24 * 3600;

/// How many connections.
pub(crate) fn parse_clients(text: &str) -> Result<usize, String> {
    bounded(text, CLIENTS_MAX)
}

/// How many pairs of connections.
pub(crate) fn parse_pairs(text: &str) -> Result<usize, String> {
    bounded(text, PAIRS_MAX)
}

/// How many connections are opened at the same time.
pub(crate) fn parse_concurrency(text: &str) -> Result<usize, String> {
    bounded(text, CONCURRENCY_MAX)
}

/// How many messages or connections in all.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    bounded(text, COUNT_MAX)
}

/// How many messages wait for their acknowledgement.
pub(crate) fn parse_inflight(text: &str) -> Result<u16, String> {
    bounded(text, INFLIGHT_MAX)
}

/// Messages per second.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    bounded(text, RATE_PER_SEC_MAX)
}

/// Bytes of a payload.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if size <= SIZE_BYTES_MAX => Ok(size),
        _ => Err(format!("allowed: 0 to {SIZE_BYTES_MAX} bytes")),
    }
}

/// A duration like `500ms`, `30s`, `5m` or `1h`; a number alone is in seconds.
pub(crate) fn parse_for(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let millis_per_unit = match unit.trim() {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number.parse::<u64>().ok().zip(millis_per_unit);
    millis
        .and_then(|(number, unit)| number.checked_mul(unit))
        .filter(|millis| (1..=FOR_SECS_MAX * 1_000).contains(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!(
                "allowed: 1ms to {}h, like 500ms, 30s, 5m or 1h",
                FOR_SECS_MAX / 3600
            )
        })
}

fn bounded<N>(text: &str, most: N) -> Result<N, String>
where
    N: Copy + Ord + std::str::FromStr + std::fmt::Display + From<u8>,
{
    match text.parse() {
        Ok(number) if (N::from(1)..=most).contains(&number) => Ok(number),
        _ => Err(format!("allowed: 1 to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_bound_that_is_named() {
        let refused = |error: Result<u64, String>, most: u64| {
            assert!(error.unwrap_err().contains(&most.to_string()));
        };
        let wide = |number: usize| u64::try_from(number).unwrap();
        assert_eq!(parse_clients("20000"), Ok(CLIENTS_MAX));
        refused(parse_clients("20001").map(wide), 20_000);
        refused(parse_clients("0").map(wide), 20_000);
        assert_eq!(parse_pairs("10000"), Ok(PAIRS_MAX));
        refused(parse_pairs("10001").map(wide), 10_000);
        assert_eq!(parse_concurrency("1000"), Ok(CONCURRENCY_MAX));
        refused(parse_concurrency("1001").map(wide), 1_000);
        assert_eq!(parse_inflight("65535"), Ok(INFLIGHT_MAX));
        refused(parse_inflight("65536").map(u64::from), 65_535);
        assert_eq!(parse_rate("10000000"), Ok(RATE_PER_SEC_MAX));
        refused(parse_rate("10000001"), 10_000_000);
        assert_eq!(parse_count("1000000000000"), Ok(COUNT_MAX));
        refused(parse_count("1000000000001"), COUNT_MAX);
        assert_eq!(parse_size("8388608"), Ok(SIZE_BYTES_MAX));
        assert_eq!(parse_size("0"), Ok(0));
        refused(parse_size("8388609").map(wide), 8_388_608);
    }

    #[test]
    fn durations_are_read_with_their_units_and_refused_with_those_that_are_allowed() {
        let millis = |text: &str| parse_for(text).map(|wait| wait.as_millis());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("2"), Ok(2_000));
        assert_eq!(millis("3s"), Ok(3_000));
        assert_eq!(millis("2m"), Ok(120_000));
        assert_eq!(millis("168h"), Ok(604_800_000));
        for wrong in ["", "0s", "169h", "5d", "s", "-1s", "99999999999999999999s"] {
            assert!(millis(wrong).unwrap_err().contains("500ms"), "{wrong}");
        }
    }
}
