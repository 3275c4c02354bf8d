//! The process: restarts, locks, the sandbox, and what is said when it does not start.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use tickwire::storage::store::{Connected, StoreConfig, StoreError, Supervisor, WRITER, connect_or_start};

use crate::harness::{Store, config, library};

fn kill_9(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Asks until the store answers again.
fn until_answered(store: &Store, sql: &str) -> String {
    let url = format!("{}/?database=md", store.handle.url());
    let user = format!("{WRITER}:{}", store.handle.writer_password());
    let out = Command::new("curl")
        .args([
            "-sS",
            "--fail",
            "--retry",
            "50",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            "-u",
            &user,
            &url,
            "-d",
            sql,
        ])
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn acknowledged_rows_survive_kill_9_and_the_store_comes_back() {
    let store = Store::start();
    store.write("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let url = store.handle.url();
    for round in 1..=3u64 {
        for n in 0..10 {
            store.write(&format!("INSERT INTO t SELECT number FROM numbers({})", n * 100));
        }
        kill_9(store.pid());
        assert_eq!(until_answered(&store, "SELECT count() FROM t"), format!("{}\n", round * 4500));
        assert_eq!((store.handle.restarts(), store.handle.url()), (round, url.clone()));
        // Other stores of this test program may have been started again too.
        assert!(tickwire::metrics::STORE_RESTARTS.get() >= round);
    }
}

#[test]
fn stopping_ends_the_process_and_frees_the_folder() {
    let store = Store::start();
    let (pid, state) = (store.pid(), store.state);
    store.handle.stop();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(std::fs::read_to_string(state.path().join("store.lock")).unwrap(), "");
    Supervisor::start(config(state.path())).unwrap();
}

#[test]
fn the_end_of_standard_input_is_the_end_of_the_store() {
    let state = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tickwire"))
        .args(["store", "--listen", "127.0.0.1:0", "--path"])
        .arg(state.path().join("store"))
        .arg("--library")
        .arg(library())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn ctrl_c_is_left_to_the_engine_and_sigterm_ends_in_order() {
    let store = Store::start();
    let (pid, signal) = (store.pid().to_string(), |name: &str, pid: &str| {
        assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
    });
    signal("-INT", &pid);
    assert_eq!(store.write("SELECT 1"), "1\n");
    assert_eq!(store.handle.restarts(), 0);
    signal("-TERM", &pid);
    while store.handle.restarts() == 0 || !store.handle.is_up() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(store.write("SELECT 2"), "2\n");
    assert_eq!((store.handle.restarts(), store.handle.last_error()), (1, None));
}

#[test]
fn commands_use_the_running_store_or_their_own() {
    let store = Store::start();
    let running = connect_or_start(config(store.state.path())).unwrap();
    assert!(matches!(&running, Connected::Running(access) if access.url() == store.handle.url()));
    assert_eq!(running.access().writer_password(), store.handle.writer_password());
    let state = store.state;
    store.handle.stop();
    let own = connect_or_start(config(state.path())).unwrap();
    assert!(matches!(own, Connected::Started(_)));
}

#[test]
fn of_commands_that_come_at_once_one_starts_the_store_and_the_others_use_it() {
    let state = tempfile::tempdir().unwrap();
    let together = Barrier::new(3);
    let connect = || {
        together.wait();
        connect_or_start(config(state.path())).unwrap()
    };
    let connected: Vec<Connected> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(connect)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(connected.iter().filter(|one| matches!(one, Connected::Started(_))).count(), 1);
    assert!(connected.iter().all(|one| one.access().url() == connected[0].access().url()));
}

#[test]
fn a_second_store_on_the_folder_waits_for_the_first() {
    let first = Store::start();
    let path = first.state.path().to_owned();
    let second = std::thread::spawn(move || Supervisor::start(config(&path)));
    // Its turn comes when the first one ends, however long that takes.
    assert_eq!(first.write("SELECT 1"), "1\n");
    let Store { state, handle } = first;
    handle.stop();
    assert!(second.join().unwrap().unwrap().is_up());
    drop(state);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let state = tempfile::tempdir().unwrap();
    let config = StoreConfig { listen: taken.local_addr().unwrap(), ..config(state.path()) };
    let error = Supervisor::start(config).err().unwrap().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()), "{error}");
    assert!(error.contains("another program"), "{error}");
}

#[test]
fn a_missing_or_wrong_library_is_named_with_the_remedy() {
    let state = tempfile::tempdir().unwrap();
    let start = |library: &str| {
        let config = StoreConfig { library: Some(library.into()), ..config(state.path()) };
        Supervisor::start(config).err().unwrap()
    };
    let error = start("/nowhere/libchdb.so");
    assert!(matches!(error, StoreError::Child(_)));
    let error = error.to_string();
    assert!(error.contains("scripts/get-chdb") && error.contains("/nowhere/libchdb.so"), "{error}");
    let text = state.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    assert!(start(text.to_str().unwrap()).to_string().contains("cannot load"));
    let other = start("/lib/x86_64-linux-gnu/libm.so.6").to_string();
    assert!(other.contains("lacks chdb_set_signal_handlers_enabled, chdb_connect"), "{other}");
}

#[test]
fn it_never_listens_beyond_loopback() {
    let state = tempfile::tempdir().unwrap();
    let config = StoreConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config(state.path()) };
    assert!(Supervisor::start(config).err().unwrap().to_string().contains("loopback"));
}

#[test]
fn the_sandbox_holds_even_for_the_writer() {
    let store = Store::start();
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().join("x.csv");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let secret = store.state.path().join("secrets/tickwire");
    for sql in [
        format!("SELECT 1 INTO OUTFILE '{}'", out.display()),
        "SELECT * FROM file('/etc/passwd', 'LineAsString')".into(),
        format!("SELECT * FROM file('{}', 'LineAsString')", secret.display()),
        format!("SELECT * FROM file('/proc/{}/environ', 'LineAsString')", std::process::id()),
        format!(
            "SELECT * FROM url('http://{address}/', 'CSV', 'a String') SETTINGS max_http_get_redirects = 0, http_max_tries = 1"
        ),
        "SELECT * FROM executable('id', 'CSV', 'a String')".into(),
        "SELECT * FROM file('/root/.bashrc', 'LineAsString')".into(),
    ] {
        let answer = store.curl(WRITER, "", Some(sql.as_bytes()), &[]);
        assert!(answer.code().is_some(), "{sql}\n{}", answer.text());
        assert!(!answer.text().contains(store.handle.writer_password()), "{sql}");
    }
    assert!(!out.exists());
    let environment = std::fs::read(format!("/proc/{}/environ", store.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"), "our environment is not the store's");
    assert_eq!(store.write("SELECT timezone()"), "UTC\n");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the store connected to somebody");
}

#[test]
fn too_many_connections_are_told_so_and_counted() {
    let store = Store::start();
    let address = store.handle.access().address();
    let open: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let refused = store.curl(WRITER, "", Some(b"SELECT 1"), &[]);
    assert_eq!((refused.status, refused.code()), (503, Some(202)), "{}", refused.text());
    drop(open);
    // The places are free again as soon as the store has seen the ends.
    assert_eq!(until_answered(&store, "SELECT 1"), "1\n");
    let stats = store.curl(WRITER, "stats", None, &[]).ok();
    assert!(!stats.contains("\"connections_refused\":0"), "{stats}");
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let store = Store::start();
    let length = format!("Content-Length: {}", (256u64 << 20) + 1);
    let refused = store.curl(WRITER, "?query=SELECT+1", None, &["-X", "POST", "-H", &length, "--max-time", "20"]);
    assert_eq!(refused.code(), Some(241), "{}", refused.text());
}

#[test]
fn it_stays_on_the_cores_it_was_given() {
    let state = tempfile::tempdir().unwrap();
    let config = StoreConfig { cores: vec![0], ..config(state.path()) };
    let store = Store { handle: Supervisor::start(config).unwrap(), state };
    for task in std::fs::read_dir(format!("/proc/{}/task", store.pid())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    }
}

#[test]
fn it_keeps_to_the_memory_it_was_given() {
    let state = tempfile::tempdir().unwrap();
    let config = StoreConfig { memory_mib: 512, ..config(state.path()) };
    let store = Store { handle: Supervisor::start(config).unwrap(), state };
    // A query may take half of it.
    assert_eq!(store.write("SELECT getSetting('max_memory_usage')"), format!("{}\n", 256 << 20));
    let server = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'";
    assert_eq!(store.write(server), format!("{}\n", 512 << 20));
}

#[test]
fn ready_within_is_bounded() {
    let first = Store::start();
    let config = StoreConfig { ready_within: Duration::from_millis(300), ..config(first.state.path()) };
    assert!(matches!(Supervisor::start(config).err().unwrap(), StoreError::NotReady { .. }));
}
