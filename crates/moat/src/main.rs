//! moat: an MQTT broker that starts encrypted, authenticated and least-privileged.
//!
//! This file is the wiring diagram of the program; [`command::start`] is the one of the broker.
//!
//! # Layout
//! - `cli`: the command line. `command`: one file for each command. `output`, `exit`, `banner`: what people see.
//! - `config_file`, `limits`, `tls_files`, `policy_files`: from the configuration to what the other crates take.
//! - `data_folder`, `first_start`, `ground`: the folder everything is in, and how it comes to be.
//! - `store`: what outlives the process, opened and loaded.
//! - `material`: what the broker serves with, read from files.
//! - `account`, `privileges`: who the process is, and what it gives up.
//! - `service`: the service plane of a running broker: signals, reload, admin socket.
//! - `admin_socket`, `admin_client`: the two ends of the admin socket. `client`: the MQTT client of `pub` and `sub`.
//! - `load`: the load generator of `bench`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod account;
mod admin_client;
mod admin_socket;
mod banner;
mod cli;
mod client;
mod command;
mod config_file;
mod data_folder;
mod exit;
mod first_start;
mod ground;
mod limits;
mod load;
mod material;
mod output;
mod policy_files;
mod privileges;
mod service;
mod store;
mod tls_files;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, DeviceCommand, StoreCommand, UserCommand};
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let Cli {
        data,
        config,
        json,
        command,
    } = Cli::parse();
    let output = Output::new(json);
    let place = DataPlace::new(data, config);
    let done: Result<(), Failure> = match command {
        Command::Start(args) => command::start::run(&args, &place, &output),
        Command::Check(args) => command::check::run(&args, &place, &output),
        Command::Status => command::status::run(&place, &output),
        Command::Device(DeviceCommand::Add(args)) => {
            command::device_add::run(&args, &place, &output)
        }
        Command::Device(DeviceCommand::List) => command::device_list::run(&place, &output),
        Command::User(UserCommand::Add(args)) => command::user_add::run(&args, &place, &output),
        Command::User(UserCommand::Passwd(args)) => {
            command::user_passwd::run(&args, &place, &output)
        }
        Command::User(UserCommand::List) => command::user_list::run(&place, &output),
        Command::User(UserCommand::Remove(args)) => {
            command::user_remove::run(&args, &place, &output)
        }
        Command::Store(StoreCommand::Verify) => command::store_verify::run(&place, &output),
        Command::Store(StoreCommand::Stats) => command::store_stats::run(&place, &output),
        Command::Pub(args) => command::publish::run(&args, &place, &output),
        Command::Sub(args) => command::subscribe::run(&args, &place, &output),
        Command::Bench(mode) => command::bench::run(&mode, &place, &output),
        Command::Completions(args) => command::completions::run(&args, &output),
        Command::Man(args) => command::man::run(&args, &output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}
