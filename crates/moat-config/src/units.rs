//! Byte sizes and durations: a number with a unit, or a bare number of bytes or seconds.

/// The units of a byte size, the largest first. Decimal units are left out: half of those who write `1 MB` mean 1 MiB.
pub(crate) const BYTE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// The units of a duration, the largest first.
pub(crate) const TIME_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Reads `"<number> <unit>"`; the space may be absent.
pub(crate) fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes an amount as a TOML value with the largest unit that fits without a fraction.
pub(crate) fn to_toml(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting = units
        .iter()
        .find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    match fitting {
        Some((unit, factor)) => format!("\"{} {unit}\"", amount / factor),
        None => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_and_without_the_space() {
        assert_eq!(read("1 MiB", &BYTE_UNITS), Some(1_048_576));
        assert_eq!(read("2KiB", &BYTE_UNITS), Some(2048));
        assert_eq!(read("5 m", &TIME_UNITS), Some(300));
        assert_eq!(read("0 s", &TIME_UNITS), Some(0));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "MiB",
            "1",
            "1  MiB",
            "1 MB",
            "-1 B",
            "1.5 GiB",
            "1 MiB ",
            "99999999999 GiB",
        ] {
            assert_eq!(read(text, &BYTE_UNITS), None, "{text}");
        }
        assert_eq!(read("5 M", &TIME_UNITS), None);
    }

    #[test]
    fn an_amount_is_written_with_its_largest_unit() {
        assert_eq!(to_toml(1_048_576, &BYTE_UNITS), "\"1 MiB\"");
        assert_eq!(to_toml(1_048_577, &BYTE_UNITS), "\"1048577 B\"");
        assert_eq!(to_toml(604_800, &TIME_UNITS), "\"7 d\"");
        assert_eq!(to_toml(0, &TIME_UNITS), "0");
    }
}
