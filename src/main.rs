use std::process::ExitCode;

fn main() -> ExitCode {
    distribution::cli::run()
}
