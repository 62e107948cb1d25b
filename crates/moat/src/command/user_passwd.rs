//! `moat user passwd`

use moat_auth::file::UserFile;

use crate::cli::UserArgs;
use crate::command::user_add;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

/// Gives a user another password.
///
/// # Errors
/// There is no such user, the password breaks a rule, or the users file cannot be changed.
pub(crate) fn run(args: &UserArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    user_add::change(
        args,
        place,
        output,
        "has another password",
        UserFile::set_password,
    )
}
