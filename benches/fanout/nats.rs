//! The rival's load side: subscribers of a NATS server on one thread over epoll, and a publisher.
//!
//! As lean as our own load generator: no runtime, one thread for all subscribers, one read for what a socket has, no copy
//! of a message that came whole. The payload is the record that our terminals get; the publisher runs on the server's
//! core, as ours does, but its processor time is not counted as the server's.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use tickwire::cli::loadtest::measure::{Report, Tally};
use tickwire::clock::now_ns;
use tickwire_schemas::record::{RECORD_BYTES_MAX, Record, TS_PUBLISH_OFFSET};

use super::process::{cpu_seconds, pin, tell};
use super::quotes::Schedule;

/// Late messages still count for so long, as in `tickwire loadtest`.
const LATE_MAX: Duration = Duration::from_secs(3);

const READ_BYTES: usize = 64 * 1024;

/// What the child process is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub server: SocketAddr,
    pub terminals: usize,
    pub seconds: u64,
    pub warmup: u64,
    /// Core of the publisher.
    pub publisher_core: usize,
}

struct Subscriber {
    stream: TcpStream,
    /// The beginning of a message whose rest has not come.
    rest: Vec<u8>,
    ready: bool,
    past: bool,
}

/// The child process: connects all, publishes once `go RATE` came on standard input, measures, and prints the report.
pub fn child(plan: &Plan) -> io::Result<()> {
    let mut load = Load::connect(plan)?;
    tell(&format!("connected {0} of {0} in {1:.2} s", plan.terminals, load.connect_seconds));
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let rate: u64 =
        line.trim().strip_prefix("go ").and_then(|rate| rate.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut publisher = hello(plan.server)?;
    let core = plan.publisher_core;
    std::thread::spawn(move || {
        pin(core);
        publish(&mut publisher, rate)
    });
    load.go_on(Duration::from_secs(plan.warmup))?;
    let length = Duration::from_secs(plan.seconds);
    let from_ns = now_ns();
    load.tally.measure(from_ns, from_ns + length.as_nanos() as i64);
    let (cpu, reads) = (cpu_seconds(), load.reads);
    tell("measuring");
    load.go_on(length)?;
    let (cpu_seconds, packets_received) = (cpu_seconds() - cpu, load.reads - reads);
    tell("measured");
    let late = Instant::now() + LATE_MAX;
    while Instant::now() < late && load.past < load.subscribers.len() {
        load.turn(late)?;
    }
    let terminals = plan.terminals as u64;
    let mut report = Report { terminals, connected: terminals, sockets: terminals, ..Report::default() };
    (report.connect_seconds, report.cpu_seconds, report.packets_received) =
        (load.connect_seconds, cpu_seconds, packets_received);
    load.tally.report(&mut report);
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Connects and says who we are, without asking for answers to every command.
fn hello(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\"}\r\n")?;
    Ok(stream)
}

fn publish(stream: &mut TcpStream, rate: u64) -> io::Result<()> {
    let mut schedule = Schedule::new(rate);
    let (mut out, mut record) = (Vec::with_capacity(64 * 1024), [0; RECORD_BYTES_MAX]);
    loop {
        schedule.wait();
        out.clear();
        while let Some(quote) = schedule.next_due() {
            let length = quote.write(&mut record);
            write!(out, "PUB q.SYM{} {length}\r\n", quote.head.instrument_id)?;
            out.extend_from_slice(&record[..length]);
            out.extend_from_slice(b"\r\n");
        }
        stream.write_all(&out)?;
    }
}

struct Load {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    subscribers: Vec<Subscriber>,
    buffer: Box<[u8]>,
    tally: Tally,
    reads: u64,
    ready: usize,
    past: usize,
    connect_seconds: f64,
}

impl Load {
    fn connect(plan: &Plan) -> io::Result<Load> {
        let began = Instant::now();
        let mut load = Load {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
            subscribers: Vec::with_capacity(plan.terminals),
            buffer: vec![0; READ_BYTES].into(),
            tally: Tally::new(),
            reads: 0,
            ready: 0,
            past: 0,
            connect_seconds: 0.0,
        };
        for id in 0..plan.terminals {
            let mut stream = hello(plan.server)?;
            // The server answers PONG when it has read all before it.
            stream.write_all(b"SUB q.* 1\r\nPING\r\n")?;
            stream.set_nonblocking(true)?;
            epoll::add(&load.epoll, &stream, epoll::EventData::new_u64(id as u64), epoll::EventFlags::IN)?;
            load.subscribers.push(Subscriber { stream, rest: Vec::new(), ready: false, past: false });
            // The server's queue of new connections is short.
            while load.ready + 64 < load.subscribers.len() {
                load.turn(Instant::now() + Duration::from_millis(10))?;
            }
        }
        while load.ready < plan.terminals {
            load.turn(Instant::now() + Duration::from_millis(10))?;
        }
        load.connect_seconds = began.elapsed().as_secs_f64();
        Ok(load)
    }

    fn go_on(&mut self, length: Duration) -> io::Result<()> {
        let until = Instant::now() + length;
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(())
    }

    /// Waits for something to read, at most until `until`, and reads it.
    fn turn(&mut self, until: Instant) -> io::Result<()> {
        let wait = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(64));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in self.events.drain(..) {
            let id = event.data.u64() as usize;
            let subscriber = &mut self.subscribers[id];
            let count = match subscriber.stream.read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::other(format!("nats-server closed subscriber {id}"))),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            self.reads += 1;
            let was = (subscriber.ready, subscriber.past);
            subscriber.on_bytes(&self.buffer[..count], &mut self.tally)?;
            self.ready += usize::from(subscriber.ready) - usize::from(was.0);
            self.past += usize::from(subscriber.past) - usize::from(was.1);
        }
        Ok(())
    }
}

impl Subscriber {
    fn on_bytes(&mut self, bytes: &[u8], tally: &mut Tally) -> io::Result<()> {
        let at_ns = now_ns();
        let mut kept = std::mem::take(&mut self.rest);
        if kept.is_empty() {
            let used = self.on_messages(bytes, at_ns, tally)?;
            kept.extend_from_slice(&bytes[used..]);
        } else {
            kept.extend_from_slice(bytes);
            let used = self.on_messages(&kept, at_ns, tally)?;
            kept.drain(..used);
        }
        self.rest = kept;
        Ok(())
    }

    /// Takes whole messages; how many bytes they were.
    fn on_messages(&mut self, bytes: &[u8], at_ns: i64, tally: &mut Tally) -> io::Result<usize> {
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &bytes[used..]) {
            let line = &bytes[used..used + end];
            let behind = used + end + 1;
            if line.starts_with(b"MSG ") {
                let size = line.rsplit(|b| *b == b' ').next().unwrap_or_default().trim_ascii_end();
                let size: usize = std::str::from_utf8(size)
                    .ok()
                    .and_then(|size| size.parse().ok())
                    .ok_or(io::ErrorKind::InvalidData)?;
                let Some(payload) = bytes.get(behind..behind + size + 2) else { break };
                let stamp = payload.get(TS_PUBLISH_OFFSET..).and_then(|stamp| stamp.first_chunk());
                let published_ns = i64::from_le_bytes(*stamp.ok_or(io::ErrorKind::InvalidData)?);
                tally.record(published_ns, at_ns, 0);
                self.past |= tally.is_past(published_ns);
                used = behind + size + 2;
                continue;
            }
            match line {
                _ if line.starts_with(b"PONG") => self.ready = true,
                _ if line.starts_with(b"PING") => self.stream.write_all(b"PONG\r\n")?,
                _ if line.starts_with(b"-ERR") => {
                    return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
                }
                // INFO and +OK.
                _ => {}
            }
            used = behind;
        }
        Ok(used)
    }
}
