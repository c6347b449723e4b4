//! `backstay`: the controller of an estate, and the command line of its operators.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    controller::cli::main()
}
