//! The thin binary: exit codes only.

fn main() -> std::process::ExitCode {
    sekisho::cli::run(std::env::args_os())
}
