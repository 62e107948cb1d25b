//! The nearest valid word to a misspelt one, for "did you mean".

/// Longer words than this are not compared, so that a hostile file costs nothing here. Unit: bytes.
const WORD_BYTES_MAX: usize = 64;

/// The candidate with the smallest edit distance, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= WORD_BYTES_MAX)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= 1 + candidate.len() / 3)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over characters, with a neighbouring swap as one step.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let words = ["publish", "subscribe", "retain"];
        assert_eq!(nearest("publsih", words), Some("publish"));
        assert_eq!(nearest("Subscribe", words), Some("subscribe"));
        assert_eq!(nearest("retian", words), Some("retain"));
    }

    #[test]
    fn a_foreign_word_finds_nothing() {
        assert_eq!(nearest("write", ["publish", "subscribe"]), None);
        assert_eq!(nearest(&"x".repeat(WORD_BYTES_MAX + 1), ["x"]), None);
    }
}
