//! What the fuzz target `config` asserts, and the replay of its corpus.

/// Reads any bytes as a configuration: no panic, and twice the same.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let read = || crate::parse("/etc/moat/moat.toml", text);
    let first = read();
    assert_eq!(first, read(), "the same text, read twice");
    if let Err(errors) = first {
        assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn config_corpus_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/config");
        let mut good = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            super::config(&input);
            let text = String::from_utf8_lossy(&input).into_owned();
            good += usize::from(crate::parse("moat.toml", &text).is_ok());
        }
        assert!(good > 0, "seeds without errors lead a fuzzer on");
    }
}
