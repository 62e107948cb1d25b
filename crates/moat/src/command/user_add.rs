//! `moat user add`, and what it has in common with `moat user passwd`.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use moat_auth::file::{EditError, UserFile};
use moat_auth::{PASSWORD_BYTES_MAX, Password, check_new_password, generate_password};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::UserArgs;
use crate::config_file;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

/// Adds a user.
///
/// # Errors
/// The user exists, name or password break a rule, or the users file cannot be changed.
pub(crate) fn run(args: &UserArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    change(args, place, output, "added", UserFile::add)
}

/// Changes the users file with a new password.
///
/// # Errors
/// As [`run`].
pub(crate) fn change(
    args: &UserArgs,
    place: &DataPlace,
    output: &Output,
    what: &str,
    edit: fn(&Path, &str, &Password) -> Result<(), EditError>,
) -> Result<(), Failure> {
    place.must_exist()?;
    let users = config_file::load(place)?.config.auth.users;
    // Before somebody types a password for a name that cannot be.
    moat_auth::check_user_name(&args.name).map_err(Failure::failed)?;
    let (password, generated) = new_password(args)?;
    check_new_password(&password).map_err(Failure::failed)?;
    edit(&users, &args.name, &password).map_err(edit_failure)?;
    let mut text = format!(
        "user {} {what}; a running broker knows it within a second",
        args.name
    );
    if let Some(generated) = &generated {
        text = format!(
            "{text}\npassword, shown only this once: {}",
            generated.as_str()
        );
    }
    output.result(&text, || {
        json!({ "name": args.name, "password": generated.as_ref().map(|password| password.as_str()) })
    });
    Ok(())
}

/// A broken users file is a configuration error; anything else is a refusal.
pub(crate) fn edit_failure(error: EditError) -> Failure {
    match error {
        EditError::Users(_) => Failure::configuration([error]),
        error => Failure::failed(error),
    }
}

/// The password, and its text if it was made here and has to be shown.
fn new_password(args: &UserArgs) -> Result<(Password, Option<Zeroizing<String>>), Failure> {
    if args.generate {
        let text = generate_password().map_err(Failure::failed)?;
        return Ok((Password::from(text.as_str()), Some(text)));
    }
    let password = match &args.password_file {
        Some(file) if file.as_os_str() == "-" => {
            first_line(io::stdin().lock(), Path::new("standard input"))?
        }
        Some(file) => {
            let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
            first_line(opened, file)?
        }
        None => prompt(&args.name)?,
    };
    Ok((password, None))
}

/// The first line without its end. A second one is a mistake: it would be thought part of the password.
fn first_line(from: impl Read, path: &Path) -> Result<Password, Failure> {
    // The longest password, a line end of two bytes, and one byte to see that there is more.
    let most = PASSWORD_BYTES_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    from.take(u64::try_from(most).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Password::new(line.to_vec()))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot read the password from {}: {error}",
        path.display()
    ))
}

/// Asks twice, without showing what is typed.
fn prompt(name: &str) -> Result<Password, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask for the password; use --password-file FILE (- for standard input) or --generate",
        ));
    }
    let ask = |text: String| {
        rpassword::prompt_password(text)
            .map(Zeroizing::new)
            .map_err(|error| Failure::failed(format!("cannot ask for the password: {error}")))
    };
    let first = ask(format!("password for {name}: "))?;
    let password = Password::from(first.as_str());
    // Nobody types a password twice that will be refused.
    check_new_password(&password).map_err(Failure::failed)?;
    if *ask("the same again: ".to_owned())? != *first {
        return Err(Failure::failed(
            "the two passwords differ; nothing was changed",
        ));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Vec<u8> {
        first_line(bytes, Path::new("test"))
            .unwrap()
            .reveal()
            .to_vec()
    }

    #[test]
    fn one_line_end_is_not_part_of_the_password() {
        for text in ["long enough 1", "long enough 1\n", "long enough 1\r\n"] {
            assert_eq!(line(text.as_bytes()), b"long enough 1");
        }
    }

    #[test]
    fn a_second_line_or_an_overlong_one_is_refused_by_the_rules() {
        let refused = |bytes: &[u8]| check_new_password(&Password::new(line(bytes))).is_err();
        assert!(refused(b"long enough 1\nand more\n"));
        assert!(refused(&vec![b'x'; PASSWORD_BYTES_MAX + 100]));
    }
}
