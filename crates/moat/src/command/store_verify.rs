//! `moat store verify`

use std::time::Duration;

use moat_broker::Clock;
use moat_store::disk::{self, Report, VerifyProgress};
use moat_store::layout::{self, Inspection, LoadError};
use serde_json::json;

use crate::config_file;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::{Output, size};
use crate::store;

/// How often the progress is shown at most.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Reads everything in the store and names what is damaged.
///
/// # Errors
/// Something is damaged, and has been printed; or there is no store, it is in use, or it cannot be read.
pub(crate) fn run(place: &DataPlace, output: &Output) -> Result<(), Failure> {
    let config = config_file::load(place)?.config.store;
    store::check_owner(&config.path)?;
    let mut bar = output.progress("verify", SHOW_EVERY);
    let report = disk::verify(&config.path, &mut |VerifyProgress { done, all }| {
        bar.show(done, all);
    });
    bar.end();
    let report = report.map_err(Failure::failed)?;
    // What the engine cannot read would only be told twice.
    let meaning = report.problems.is_empty().then(|| {
        let store = store::open_disk(&config)?;
        Ok(layout::inspect(&*store, Clock::start().now()))
    });
    let meaning = meaning.transpose()?;
    output.result(&text(&report, meaning.as_ref(), output), || {
        value(&report, meaning.as_ref())
    });
    let count = problems(&report, meaning.as_ref());
    if count == 0 {
        return Ok(());
    }
    let s = if count == 1 { "" } else { "s" };
    Err(Failure::failed(format!(
        "{count} problem{s} found, see above: what is named is lost; restore {} from a backup, or move it away to begin anew \
         without sessions and messages",
        config.path.display()
    )))
}

type Meaning = Result<Inspection, LoadError>;

fn problems(report: &Report, meaning: Option<&Meaning>) -> u64 {
    let of_files = u64::try_from(report.problems.len()).unwrap_or(u64::MAX);
    let of_meaning = u64::from(matches!(meaning, Some(Err(_))));
    of_files + report.more_problems + of_meaning
}

fn text(report: &Report, meaning: Option<&Meaning>, output: &Output) -> String {
    let mut lines = vec![format!(
        "{} files, {}: {} records and {} values are whole",
        report.files,
        size(report.bytes),
        report.records,
        report.values
    )];
    if let Some(torn) = &report.torn {
        lines.push(format!(
            "{}: {}: {} bytes at the end were not completely written when the broker ended; nothing of them was acknowledged, and the \
             next start cuts them off",
            output.strong("note"),
            torn.file.display(),
            torn.bytes
        ));
    }
    let error = output.strong("error");
    for problem in &report.problems {
        lines.push(format!("{error}: {}: {}", problem.place, problem.lost));
    }
    if report.more_problems > 0 {
        lines.push(format!("{error}: and {} more", report.more_problems));
    }
    match meaning {
        Some(Ok(found)) => lines.push(format!(
            "{} sessions, {} messages that wait for them, {} retained messages",
            found.tally.sessions, found.tally.entries, found.tally.retained
        )),
        Some(Err(wrong)) => lines.push(format!("{error}: {wrong}")),
        None => {}
    }
    lines.join("\n")
}

fn value(report: &Report, meaning: Option<&Meaning>) -> serde_json::Value {
    let mut problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| json!({ "place": problem.place, "lost": problem.lost }))
        .collect();
    let tally = match meaning {
        Some(Ok(found)) => Some(found.tally),
        Some(Err(wrong)) => {
            problems.push(json!({ "place": "the layout", "lost": wrong.to_string() }));
            None
        }
        None => None,
    };
    json!({
        "ok": problems.is_empty(),
        "files": report.files,
        "bytes": report.bytes,
        "records": report.records,
        "values": report.values,
        "torn_bytes": report.torn.as_ref().map_or(0, |torn| torn.bytes),
        "problems": problems,
        "more_problems": report.more_problems,
        "sessions": tally.map(|tally| tally.sessions),
        "messages": tally.map(|tally| tally.entries),
        "retained": tally.map(|tally| tally.retained),
    })
}
