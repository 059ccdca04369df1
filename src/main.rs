//! The `routor` binary.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    routor::cli::main()
}
