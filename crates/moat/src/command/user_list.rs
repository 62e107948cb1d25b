//! `moat user list`

use moat_auth::file::UserFile;
use serde_json::json;

use crate::command::user_add::edit_failure;
use crate::config_file;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

/// Prints the names of the users, one on a line.
///
/// # Errors
/// The users file is wrong.
pub(crate) fn run(place: &DataPlace, output: &Output) -> Result<(), Failure> {
    place.must_exist()?;
    let users = config_file::load(place)?.config.auth.users;
    let names = UserFile::list(&users).map_err(edit_failure)?;
    let text = match names.is_empty() {
        true => "no users; add one with `moat user add NAME`".to_owned(),
        false => names.join("\n"),
    };
    output.result(&text, || json!({ "users": names }));
    Ok(())
}
