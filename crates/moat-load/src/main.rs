//! `mqload`: a load generator for MQTT 3.1.1 and 5.0. It measures what a broker's process uses for each message,
//! connection or subscription, which holds on a noisy machine, and prints one line of JSON.
//!
//! `mqload floor` is what to compare with: the same work on sockets and no broker. It knows no other crate of moat, so
//! that no mistake of moat can hide behind the same one here. `cargo xtask bench` runs it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to a person"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "counts of a run are far below the bounds of their types, and times are rounded on purpose"
)]

mod bulk;
mod connection;
mod connects;
mod floor;
mod histogram;
mod homes;
mod measure;
mod options;
mod packet;
mod persist;
mod report;
mod retained;
mod scenario;
mod subscriptions;
mod tls;
mod traffic;
mod unwanted;

use std::process::ExitCode;
use std::sync::Arc;

use options::Options;
use report::Report;
use scenario::Scenario;

fn main() -> ExitCode {
    measure::now_ns();
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => Arc::new(options),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        // What is still connected needs no orderly end.
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            Report::new(options.scenario.name())
                .text("label", &options.label)
                .text("error", &message)
                .print();
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Arc<Options>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let result = runtime.block_on(async {
        let options = Arc::clone(options);
        // In a task of its own, so that it is woken like all others.
        tokio::spawn(async move { scenario(&options).await })
            .await
            .map_err(|error| error.to_string())?
    });
    runtime.shutdown_background();
    result
}

async fn scenario(options: &Arc<Options>) -> Result<(), String> {
    match options.scenario {
        Scenario::Floor => floor::serve(options),
        Scenario::Fanout | Scenario::Fanin | Scenario::Pairs => {
            let name = options.scenario.name();
            traffic::run(options, name).await?.report(name).print();
            Ok(())
        }
        Scenario::Connect => connects::connect(options).await,
        Scenario::Idle => connects::idle(options).await,
        Scenario::Retained => retained::run(options).await,
        Scenario::Persist => persist::run(options).await,
        Scenario::Unwanted => unwanted::run(options).await,
        Scenario::Subscriptions => subscriptions::run(options).await,
    }
}
