//! A panic ends the process: a stage that lost its footing must not go on. What it was working on is kept in a file.

use std::path::PathBuf;

use super::pipeline::in_flight;
use crate::clock;

/// Has every panic write `crash-TIME.txt` into the state directory, with the thread, the place, and the input that the
/// thread was working on, before the process aborts.
pub fn catch_crashes(state_dir: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let text = format!("thread {name}\n{panic}\nin flight: {:#?}\n", in_flight());
        let path = state_dir.join(format!("crash-{}.txt", clock::now_ns()));
        // Nothing more can be done when this fails; the panic itself still goes to standard error.
        let _ = std::fs::write(path, text);
        before(panic);
    }));
}
