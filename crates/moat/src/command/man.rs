//! `moat man`

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;
use serde_json::json;

use crate::cli::{Cli, ManArgs};
use crate::exit::Failure;
use crate::output::Output;

/// Prints `moat(1)`, or writes a page for each command into a folder.
///
/// # Errors
/// A page cannot be written.
pub(crate) fn run(args: &ManArgs, output: &Output) -> Result<(), Failure> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        let rendered = Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|error| Failure::failed(format!("cannot make the page: {error}")))?;
        output.raw(&page);
        return Ok(());
    };
    write(folder).map_err(|error| {
        Failure::failed(format!(
            "cannot write pages into {}: {error}",
            folder.display()
        ))
    })?;
    output.result(
        &format!("man pages are in {}", folder.display()),
        || json!({ "folder": folder }),
    );
    Ok(())
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}
