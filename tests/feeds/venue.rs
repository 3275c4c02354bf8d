//! A venue on loopback that plays a script: each adapter's framing and subscription around the same acts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

mod fix_venue;
mod fxcm_venue;
mod mt_venue;
mod poll_venue;

/// What a venue does on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Refuses the login, in words that repeat the secret.
    Refuse,
    /// Answers that there are too many requests.
    SlowDown,
    /// Refuses what is subscribed, where the venue confirms subscriptions.
    UnknownSymbol,
    /// Closes before it has answered.
    Hangup,
    /// Says a price.
    Price,
    /// Says this.
    Say(&'static str),
    /// Sends a WebSocket ping and goes on when the pong with the same payload is there.
    PingPong,
    /// Says a price in two pieces, with a pause of the socket in between.
    Halves,
    /// Says something that is no message.
    Rubbish,
    /// Begins a message of 2 MiB.
    Huge,
    /// Closes.
    Close,
    /// Sends heartbeats, and nothing else, until the client goes.
    Heartbeats,
    /// Says nothing until the client goes.
    Hold,
}

/// Where the example of "json-ws" says what.
pub(crate) const JSON_WS_FIELDS: &str = "fields = { symbol = \"data.s\", bid = \"data.b\", ask = \"data.a\", bid_size = \"data.B\", ask_size = \"data.A\", time = \"ts\", sequence = \"data.n\", filter = { type = \"quote\" }, error = \"code\", error_slow = [-1003] }";

/// The same for "json-poll".
pub(crate) const JSON_POLL_FIELDS: &str = "fields = { items = \"prices\", symbol = \"symbol\", bid = \"bid\", ask = \"ask\", time = \"time\", time_unit = \"iso\", error = \"code\", error_slow = [-1003] }";

/// A scripted venue: its n-th data connection plays the n-th script, the last one for ever.
pub(crate) struct Server {
    adapter: &'static str,
    addr: SocketAddr,
    data_port: u16,
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
    asked: mpsc::Receiver<String>,
    closed: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

#[derive(Clone)]
struct Stage {
    adapter: &'static str,
    price: &'static str,
    scripts: Arc<Vec<Vec<Act>>>,
    turn: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
    asked: mpsc::Sender<String>,
    closed: mpsc::Sender<()>,
    /// Where prices come from, when it is another port.
    data: Option<Arc<TcpListener>>,
}

impl Server {
    pub(crate) fn start(adapter: &'static str, price: &'static str, scripts: Vec<Vec<Act>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let data = (adapter == "mtsocketapi").then(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let data_port = data.as_ref().map_or(0, |data| data.local_addr().unwrap().port());
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let ((asks, asked), (sender, closed)) = (mpsc::channel(), mpsc::channel());
        let stage = Stage {
            adapter,
            price,
            scripts: Arc::new(scripts),
            turn: Arc::default(),
            stop: Arc::clone(&stop),
            requests: Arc::clone(&requests),
            asked: asks,
            closed: sender,
            data: data.map(Arc::new),
        };
        let thread = std::thread::spawn(move || {
            let mut players = Vec::new();
            for socket in listener.incoming() {
                if stage.stop.load(SeqCst) {
                    break;
                }
                let (stage, socket) = (stage.clone(), socket.unwrap());
                // A client that goes away in the middle is part of some scripts.
                players.push(std::thread::spawn(move || drop(stage.serve(socket))));
            }
            players.into_iter().for_each(|player| player.join().unwrap());
        });
        Server { adapter, addr, data_port, stop, requests, asked, closed, thread }
    }

    /// The adapter's own keys of a source that connects here.
    pub(crate) fn keys(&self) -> String {
        let keys = Server::keys_for(self.adapter, &self.addr.to_string());
        if self.data_port == 0 { keys } else { format!("{keys}\ndata_port = {}", self.data_port) }
    }

    pub(crate) fn keys_for(adapter: &str, addr: &str) -> String {
        match adapter {
            "oanda" => format!("base_url = \"http://{addr}\"\naccount = \"101-004-1\"\ntoken = \"hunter2\""),
            "fxcm" => format!("base_url = \"http://{addr}\"\ntoken = \"hunter2\""),
            "mtapi" => format!(
                "base_url = \"http://{addr}\"\nuser = \"77\"\npassword = \"hunter2\"\nserver = \"Demo\"\nbroker_time = \"new-york-close\""
            ),
            "mtapi-accounts" => format!(
                "base_url = \"http://{addr}\"\naccount = \"77\"\nkey = \"hunter2\"\ninterval_ms = 5\ntimeout_ms = 60000"
            ),
            "binance" | "binance_usdm" | "kraken" | "coinbase" | "bybit" => format!("base_url = \"ws://{addr}\""),
            "ctrader" => format!(
                "base_url = \"tcp://{addr}\"\nsender_comp_id = \"demo.broker.77\"\nusername = \"77\"\npassword = \"hunter2\""
            ),
            "mtsocketapi" => {
                let (host, port) = addr.split_once(':').unwrap();
                format!("host = \"{host}\"\ncommand_port = {port}\nbroker_time = \"new-york-close\"")
            }
            "json-ws" => format!(
                "url = \"ws://{addr}/prices?of={{symbols}}&key={{secret:key}}\"\nsecrets = {{ key = \"hunter2\" }}\n{JSON_WS_FIELDS}"
            ),
            "json-poll" => format!(
                "url = \"http://{addr}/prices?of={{symbols}}\"\ninterval_ms = 5\ntimeout_ms = 60000\nsecrets = {{ key = \"hunter2\" }}\nheaders = {{ Authorization = \"Bearer {{secret:key}}\" }}\n{JSON_POLL_FIELDS}"
            ),
            other => panic!("the adapter {other} has no scripted venue; add its keys and its framing here"),
        }
    }

    /// The request lines of logins, subscriptions and data connections so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Until a client asks for something with `part` in it.
    pub(crate) fn wait_until_asked(&self, part: &str, at_most: Duration) {
        while !self.asked.recv_timeout(at_most).expect("the client asks for it").contains(part) {}
    }

    /// Until a client has closed a connection that was held.
    pub(crate) fn wait_until_closed(&self, at_most: Duration) {
        self.closed.recv_timeout(at_most).expect("the client closes its socket");
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.addr);
        self.thread.join().unwrap();
    }
}

impl Stage {
    fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        if self.adapter == "ctrader" {
            return fix_venue::serve(self, socket);
        }
        match self.adapter {
            "json-poll" | "mtapi-accounts" => return poll_venue::serve(self, socket),
            "mtsocketapi" => return mt_venue::serve(self, socket),
            _ => {}
        }
        let mut reader = BufReader::new(socket.try_clone()?);
        let (mut request, mut key, mut head) = (String::new(), String::new(), String::new());
        reader.read_line(&mut request)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("sec-websocket-key")
            {
                key = value.trim().to_string();
            }
            head += &line;
        }
        if request.is_empty() {
            return Ok(());
        }
        if self.adapter == "fxcm" && request.starts_with("POST /subscribe ") {
            return fxcm_venue::subscribe(self, &head, &mut reader, &mut { socket });
        }
        // Nobody listens any more when a test is over.
        let _ = self.asked.send(request.clone());
        if request.contains("/Disconnect") {
            return reply(&mut { socket }, "200 OK", "OK");
        }
        self.requests.lock().unwrap().push(request.trim().to_string());
        let mut out = socket;
        let script = &self.scripts[self.turn.load(SeqCst).min(self.scripts.len() - 1)];
        // Login and subscription of mtapi come before its data connection, and take part in the script's first act.
        let login = request.contains("/ConnectEx");
        let calls = login || request.contains("/SubscribeMany");
        let (denies, first) = (!calls || login, script[0]);
        let denies = denies && (self.adapter, first) != ("fxcm", Act::Refuse);
        if denies && matches!(first, Act::Refuse | Act::SlowDown | Act::Hangup) {
            self.turn.fetch_add(1, SeqCst);
            return self.deny(&mut out, first);
        }
        if calls {
            return reply(&mut out, "200 OK", if login { "\"7c0f-1b3a\"" } else { "OK" });
        }
        self.turn.fetch_add(1, SeqCst);
        if key.is_empty() {
            out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        } else {
            let accept = derive_accept_key(key.as_bytes());
            write!(
                out,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )?;
        }
        if self.adapter == "fxcm" {
            for text in fxcm_venue::greeting(first) {
                out.write_all(&self.message(text.as_bytes()))?;
            }
            if first == Act::Refuse {
                return Ok(());
            }
        }
        let known = !script.contains(&Act::UnknownSymbol);
        for _ in 0..subscriptions(self.adapter) {
            let asked = read_text(&mut reader)?;
            for answer in answers(self.adapter, &asked, known) {
                out.write_all(&self.message(answer.as_bytes()))?;
            }
            self.requests.lock().unwrap().push(asked);
        }
        script.iter().try_for_each(|act| self.play(&mut out, &mut reader, *act))
    }

    fn deny(&self, out: &mut TcpStream, act: Act) -> std::io::Result<()> {
        let words = "Nobody knows you with hunter2";
        match (act, self.adapter) {
            (Act::Refuse, "oanda") => reply(out, "401 Unauthorized", &format!("{{\"errorMessage\":\"{words}\"}}")),
            (Act::Refuse, "mtapi") => {
                reply(out, "201 Created", &format!("{{\"message\":\"{words}\",\"code\":\"INVALID_ACCOUNT\"}}"))
            }
            (Act::Refuse, "json-ws") => reply(out, "403 Forbidden", words),
            // Nobody logs in at an exchange; its front refuses addresses, and never saw a secret.
            (Act::Refuse, _) => reply(out, "403 Forbidden", "Nobody knows you"),
            (Act::SlowDown, "mtapi") => {
                reply(out, "201 Created", "{\"message\":\"slower\",\"code\":\"TOO_FREQUENT_REQUEST\"}")
            }
            (Act::SlowDown, _) => reply(out, "429 Too Many Requests\r\nRetry-After: 60", "slower"),
            _ => Ok(()),
        }
    }

    fn play(&self, out: &mut TcpStream, reader: &mut impl Read, act: Act) -> std::io::Result<()> {
        match act {
            Act::Price => out.write_all(&self.message(self.price.as_bytes())),
            Act::Say(text) => out.write_all(&self.message(text.as_bytes())),
            Act::PingPong => {
                out.write_all(&[0x89, 3, b'h', b'e', b'y'])?;
                let mut pong = [0; 9];
                reader.read_exact(&mut pong)?;
                let unmasked: Vec<u8> = (0..3).map(|at| pong[6 + at] ^ pong[2 + at]).collect();
                assert_eq!((&pong[..2], &unmasked[..]), (&[0x8a, 0x83][..], &b"hey"[..]));
                Ok(())
            }
            Act::Halves => {
                let message = self.message(self.price.as_bytes());
                let (a, b) = message.split_at(message.len() / 2);
                out.set_nodelay(true)?;
                out.write_all(a)?;
                out.flush()?;
                std::thread::yield_now();
                out.write_all(b)
            }
            Act::Rubbish => out.write_all(&self.message(b"\x7bwhat\xc2\xb7ever")),
            Act::Huge => {
                if self.adapter == "oanda" {
                    let mut text = format!("{:x}\r\n", 2 << 20).into_bytes();
                    text.resize(text.len() + (2 << 20), b'x');
                    // The client may hang up before it has read all of it.
                    let _ = out.write_all(&text);
                    return Ok(());
                }
                out.write_all(&[0x81, 127, 0, 0, 0, 0, 0, 0x20, 0, 0])
            }
            Act::Close => out.shutdown(std::net::Shutdown::Both),
            Act::Heartbeats => loop {
                let beat = match self.adapter {
                    "oanda" => self.message(br#"{"type":"HEARTBEAT","time":"2016-10-27T08:38:44.327443673Z"}"#),
                    _ => vec![0x89, 3, b'h', b'e', b'y'],
                };
                out.write_all(&beat)?;
                // The pace of the venue, not a wait for anything.
                std::thread::sleep(Duration::from_millis(2));
            },
            Act::Hold | Act::UnknownSymbol => {
                let mut rest = Vec::new();
                let _ = reader.read_to_end(&mut rest);
                let _ = self.closed.send(());
                Ok(())
            }
            Act::Refuse | Act::SlowDown | Act::Hangup => unreachable!("played before the connection is accepted"),
        }
    }

    /// A message in the venue's framing.
    fn message(&self, text: &[u8]) -> Vec<u8> {
        if self.adapter == "oanda" {
            let mut chunk = format!("{:x}\r\n", text.len() + 1).into_bytes();
            chunk.extend_from_slice(text);
            chunk.extend_from_slice(b"\n\r\n");
            return chunk;
        }
        let mut frame = match u8::try_from(text.len()) {
            Ok(length @ 0..=125) => vec![0x81, length],
            _ => {
                let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
                vec![0x81, 126, high, low]
            }
        };
        frame.extend_from_slice(text);
        frame
    }
}

/// How many messages a client sends before it hears prices.
fn subscriptions(adapter: &str) -> usize {
    match adapter {
        "kraken" => 2,
        "coinbase" => 3,
        "bybit" => 1,
        _ => 0,
    }
}

/// What the venue answers to a subscription.
fn answers(adapter: &str, asked: &str, known: bool) -> Vec<String> {
    let asked: Value = serde_json::from_str(asked).unwrap();
    match adapter {
        "kraken" => {
            let symbols = asked["params"]["symbol"].as_array().unwrap();
            let answer = |symbol: &Value| match known {
                true => json!({ "method": "subscribe", "req_id": asked["req_id"], "success": true,
                    "result": { "channel": asked["params"]["channel"], "symbol": symbol } }),
                false => json!({ "method": "subscribe", "req_id": asked["req_id"], "success": false, "symbol": symbol,
                    "error": format!("Currency pair not supported {}", symbol.as_str().unwrap()) }),
            };
            symbols.iter().map(|symbol| answer(symbol).to_string()).collect()
        }
        "coinbase" if !known => vec![
            json!({ "type": "error", "message": "failed to subscribe",
            "reason": format!("{} is not a valid product", asked["product_ids"][0].as_str().unwrap()) })
            .to_string(),
        ],
        // Each repeats the whole of what is subscribed; numbered so that the example is the next one.
        "coinbase" => {
            let (channel, products) = (asked["channel"].as_str().unwrap(), &asked["product_ids"]);
            let number = ["ticker", "market_trades", "heartbeats"].iter().position(|c| *c == channel).unwrap();
            let what = if number == 2 { json!(["heartbeats"]) } else { products.clone() };
            vec![
                json!({ "channel": "subscriptions", "timestamp": "2026-08-09T21:05:48.228846629Z",
                "sequence_num": number, "events": [{ "subscriptions": { channel: what } }] })
                .to_string(),
            ]
        }
        "bybit" => {
            let words =
                if known { String::new() } else { format!("error:handler not found,topic:{}", asked["args"][0]) };
            vec![json!({ "success": known, "ret_msg": words, "conn_id": "c", "req_id": asked["req_id"], "op": "subscribe" })
                .to_string()]
        }
        other => panic!("{other} confirms nothing"),
    }
}

/// The text of a client's frame, which is masked.
fn read_text(reader: &mut impl Read) -> std::io::Result<String> {
    let mut head = [0; 2];
    reader.read_exact(&mut head)?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let (mut mask, mut text) = ([0; 4], vec![0; length]);
    reader.read_exact(&mut mask)?;
    reader.read_exact(&mut text)?;
    assert_eq!(head[0], 0x81, "a whole text message");
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(String::from_utf8(text).unwrap())
}

fn reply(out: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    // In one piece: a client of WebSockets takes of a refusal what came with its head.
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    out.write_all(text.as_bytes())
}
