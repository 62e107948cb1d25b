//! The nearest valid name to a misspelt one.

/// The longest name compared, in characters; a longer one is no typing error.
const NAME_CHARS_MAX: usize = 64;

/// The candidate a person most likely meant, if one is near enough: at most one slip in three characters.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = name.chars().count();
    if length > NAME_CHARS_MAX {
        return None;
    }
    let slips_max = (length / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (slips(name, candidate), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// How many letters were added, left out, replaced or swapped with their neighbour (optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_one_letter_more_less_other_or_swapped() {
        assert_eq!(slips("listener", "listener"), 0);
        assert_eq!(slips("listner", "listener"), 1);
        assert_eq!(slips("listeener", "listener"), 1);
        assert_eq!(slips("listemer", "listener"), 1);
        assert_eq!(slips("litsener", "listener"), 1);
        assert_eq!(slips("", "log"), 3);
        assert_eq!(slips("log", ""), 3);
    }

    #[test]
    fn the_nearest_of_several_is_taken_and_nonsense_has_none() {
        let keys = ["topic_bytes_max", "topic_levels_max", "log", "tls"];
        assert_eq!(nearest("topic_byte_max", keys), Some("topic_bytes_max"));
        assert_eq!(nearest("Log", keys), Some("log"));
        assert_eq!(nearest("banana", keys), None);
        assert_eq!(nearest(&"l".repeat(NAME_CHARS_MAX + 1), keys), None);
    }
}
