//! Arguments in, exit code out.

use std::process::ExitCode;

use tickwire::storage::store::{ServeOptions, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let flag = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    if arguments.get(1).is_none_or(|a| a != "store") {
        return ExitCode::SUCCESS;
    }
    let (Some(path), Some(Ok(listen))) = (flag("--path"), flag("--listen").map(|l| l.parse())) else {
        eprintln!("store needs --path and --listen");
        return ExitCode::from(2);
    };
    let library = flag("--library").map(Into::into);
    match serve(ServeOptions { path: path.into(), listen, library }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
