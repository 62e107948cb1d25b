//! `moat device list`

use std::time::SystemTime;

use moat_pki::{Authority, IndexEntry, Kind};
use serde_json::json;

use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::first_start::pki_failure;
use crate::output::Output;
use crate::tls_files::pki_folder;

/// Prints the certificates the devices got, oldest first.
///
/// # Errors
/// The authority's files are wrong.
pub(crate) fn run(place: &DataPlace, output: &Output) -> Result<(), Failure> {
    place.must_exist()?;
    let authority =
        Authority::open(&pki_folder(&place.path), SystemTime::now()).map_err(pki_failure)?;
    let mut devices = authority.issued().map_err(pki_failure)?;
    devices.retain(|entry| entry.kind == Kind::Device);
    output.result(&table(&devices), || json!({ "certificates": devices }));
    Ok(())
}

/// One line for each certificate: its device, its end, its serial.
fn table(devices: &[IndexEntry]) -> String {
    if devices.is_empty() {
        return "no devices; add one with `moat device add NAME`".to_owned();
    }
    let width = devices.iter().map(|entry| entry.name.len()).max();
    let width = width.unwrap_or_default();
    let lines: Vec<String> = devices
        .iter()
        .map(|entry| {
            format!(
                "{:width$}  until {}  serial {}",
                entry.name, entry.not_after, entry.serial
            )
        })
        .collect();
    lines.join("\n")
}
