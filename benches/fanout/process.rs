//! Child processes on cores of their own, and what the kernel says of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::thread::{CpuSet, sched_setaffinity};
use tickwire::cli::loadtest::measure::Report;

/// Ticks a second in `/proc`: the same on every Linux of today.
const USER_HZ: f64 = 100.0;

/// Pins the calling thread, and what it starts later, to a core.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("fanout: core {core}: {error}; not pinned");
    }
}

/// Starts a program on a core.
pub fn spawn_on(core: usize, command: &mut Command) -> Child {
    std::thread::scope(|scope| {
        let child = scope.spawn(|| {
            pin(core);
            command.spawn()
        });
        let program = "a child process";
        child.join().expect(program).expect(program)
    })
}

/// Says on standard error how far it is, in the words of `tickwire loadtest`.
pub fn tell(stage: &str) {
    eprintln!("loadtest: {stage}");
}

/// Processor time of this process, seconds.
pub fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// Processor time of another process, seconds, in steps of the kernel's clock (10 ms).
pub fn cpu_seconds_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // After the name, which may hold anything: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    ticks as f64 / USER_HZ
}

/// Resident memory of another process, bytes.
pub fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("kB") * 1024
}

/// A child that is killed when its owner is done.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A load generator: `tickwire loadtest`, or its counterpart for the rival.
pub struct Load {
    child: Owned,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: BufReader<ChildStderr>,
}

impl Load {
    pub fn start(core: usize, command: &mut Command) -> Load {
        Load::of(spawn_on(core, command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())))
    }

    /// The same wherever the kernel puts it; what it says on standard error is not waited for.
    pub fn start_anywhere(command: &mut Command) -> Load {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Load::of(command.spawn().expect("a child process"))
    }

    fn of(child: Child) -> Load {
        let mut child = Owned(child);
        let pipes = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let (stdin, Some(stdout), Some(stderr)) = pipes else { panic!("pipes") };
        Load { child, stdin, stdout, stderr: BufReader::new(stderr) }
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(line.as_bytes()).expect("the load generator listens");
    }

    /// Returns when it says that it is at this stage.
    ///
    /// # Errors
    /// What it said instead, when it ended.
    pub fn until(&mut self, stage: &str) -> Result<(), String> {
        let (mut line, mut last) = (String::new(), String::new());
        loop {
            line.clear();
            if self.stderr.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
                return Err(format!("the load generator ended before it was {stage}: {}", last.trim()));
            }
            if line.starts_with("loadtest: ") && line.contains(stage) {
                return Ok(());
            }
            last.clone_from(&line);
        }
    }

    /// What it found.
    ///
    /// # Errors
    /// What it wrote that is no report.
    pub fn report(mut self) -> Result<Report, String> {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).map_err(|e| e.to_string())?;
        let _ = self.child.0.wait();
        serde_json::from_str(&text).map_err(|e| format!("the load generator said {text:?}: {e}"))
    }
}
