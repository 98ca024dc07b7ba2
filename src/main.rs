//! The binary: the command line decides what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    distribution::cli::run()
}
