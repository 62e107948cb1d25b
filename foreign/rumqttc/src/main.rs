//! Runs every scenario with the crate rumqttc over one transport: `moat-foreign-rumqttc TRANSPORT`.
//!
//! Prints `ok SCENARIO` or `not ok SCENARIO: why`, a line each.

mod connection;
mod mqtt311;
mod scenarios;
mod settings;

use std::process::ExitCode;

use settings::Settings;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(transport) = std::env::args().nth(1) else {
        eprintln!("usage: moat-foreign-rumqttc tls|mtls|ws|wss");
        return ExitCode::from(2);
    };
    match Settings::of_environment(transport) {
        Ok(settings) => {
            scenarios::run(&settings).await;
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
