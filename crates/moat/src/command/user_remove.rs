//! `moat user remove`

use moat_auth::file::UserFile;
use serde_json::json;

use crate::cli::UserRemoveArgs;
use crate::command::user_add::edit_failure;
use crate::config_file;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

/// Removes a user: the password is good no more, and a running broker closes the connections it opened.
///
/// # Errors
/// There is no such user, or the users file cannot be changed.
pub(crate) fn run(
    args: &UserRemoveArgs,
    place: &DataPlace,
    output: &Output,
) -> Result<(), Failure> {
    place.must_exist()?;
    let users = config_file::load(place)?.config.auth.users;
    UserFile::remove(&users, &args.name).map_err(edit_failure)?;
    let text = format!(
        "user {} removed; a running broker knows it within a second and closes the connections that are open",
        args.name
    );
    output.result(&text, || json!({ "name": args.name }));
    Ok(())
}
