//! The password: from a file or a prompt, never from an argument, which every user of the machine can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::exit::Failure;

/// The longest password that MQTT can carry.
const PASSWORD_BYTES_MAX: usize = 65_535;

/// Reads the password of `user` from the first line of `file` (`-` for standard input), or asks for it.
///
/// # Errors
/// The file cannot be read or has more than one line, or there is no terminal to ask.
pub(super) fn password(user: &str, file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match file {
        Some(path) if path.as_os_str() == "-" => {
            only_line(io::stdin().lock(), Path::new("standard input"))
        }
        Some(path) => {
            let opened = File::open(path).map_err(|error| unreadable(path, &error))?;
            only_line(opened, path)
        }
        None => prompt(user),
    }
}

/// The only line without its end.
fn only_line(from: impl Read, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // A line end of two bytes, and one byte to see that there is more.
    let most = PASSWORD_BYTES_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    from.take(u64::try_from(most).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.contains(&b'\n') || line.len() > PASSWORD_BYTES_MAX {
        return Err(Failure::failed(format!(
            "{}: a password is one line of 1 to {PASSWORD_BYTES_MAX} bytes",
            path.display()
        )));
    }
    Ok(Zeroizing::new(line.to_vec()))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot read the password from {}: {error}",
        path.display()
    ))
}

fn prompt(user: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask for the password; use --password-file FILE (- for standard input)",
        ));
    }
    let typed = rpassword::prompt_password(format!("password for {user}: "))
        .map_err(|error| Failure::failed(format!("cannot ask for the password: {error}")))?;
    Ok(Zeroizing::new(typed.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_or_without_its_end_is_a_password() {
        let read = |bytes: &[u8]| {
            only_line(bytes, Path::new("test"))
                .ok()
                .map(|line| line.to_vec())
        };
        for text in ["long enough 1", "long enough 1\n", "long enough 1\r\n"] {
            assert_eq!(
                read(text.as_bytes()).as_deref(),
                Some(&b"long enough 1"[..])
            );
        }
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\n"), None);
        assert_eq!(read(b"one\ntwo\n"), None);
        assert!(read(&vec![b'x'; PASSWORD_BYTES_MAX]).is_some());
        assert_eq!(read(&vec![b'x'; PASSWORD_BYTES_MAX + 1]), None);
    }
}
