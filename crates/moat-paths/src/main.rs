//! `moat-paths NAME PASSES` goes a path so many times, for a tool that watches; without arguments it lists the paths.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the command line"
)]

use std::process::ExitCode;

use moat_paths::{PATHS, Pass, find};

/// Passes before those that are counted.
const WARM_PASSES: u32 = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, passes) = match arguments[..] {
        [] => {
            for path in PATHS {
                println!("{}\t{}", path.name, path.what);
            }
            return ExitCode::SUCCESS;
        }
        [name, passes] => (name, passes),
        _ => ("", ""),
    };
    let (Some(path), Ok(passes)) = (find(name), passes.parse::<u32>()) else {
        eprintln!("moat-paths: NAME PASSES, where NAME is one of those that `moat-paths` lists");
        return ExitCode::from(2);
    };
    let mut pass = (path.begin)();
    // Buffers reach the size they keep.
    for _ in 0..WARM_PASSES {
        pass();
    }
    counted(&mut pass, passes);
    ExitCode::SUCCESS
}

/// The passes that are counted: whoever counts looks for this name.
#[inline(never)]
fn counted(pass: &mut Pass, passes: u32) {
    for _ in 0..passes {
        pass();
    }
}
