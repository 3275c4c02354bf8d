//! cTrader's FIX 4.4 quote session as its documents describe it: logon, heartbeats, sequence numbers, the security list,
//! spot and depth subscriptions, and the refusals. Written apart from the engine's own codec, so that each checks the
//! other: here every message is a list of tags and texts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Server;
use super::event::{Event, Quote};
use super::hub::Hub;
use super::stamp;
use crate::clock;

mod book;
mod wire;

use book::Book;
use wire::{Fields, Taken};

/// A client that has not logged on within this time is not waited for.
const LOGON_WITHIN: Duration = Duration::from_secs(30);

/// Subscriptions of one session.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// How the server calls itself.
const SERVER: &str = "cServer";

/// The server's words for a logon that is wrong in any way.
const BAD_LOGON: &str = "InternalError: RET_INVALID_DATA";

/// Serves one client until either side ends it.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream) {
    let hub = server.hub.clone();
    tokio::select! {
        // The client is gone or was told why.
        _ = session(&server, stream) => {}
        () = hub.until_old(0) => {}
        () = hub.until_cut() => {}
    }
}

/// The session is over.
#[derive(Debug)]
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

/// What a client has subscribed under one request id.
#[derive(Debug)]
struct Subscription {
    symbol: usize,
    /// The book that was told, where the whole of it was asked for.
    book: Option<Book>,
    /// Whether the first W was sent.
    told: bool,
}

#[derive(Debug)]
struct Session {
    hub: Arc<Hub>,
    secret: String,
    writer: OwnedWriteHalf,
    client: String,
    client_sub: String,
    next_in: u64,
    next_out: u64,
    // Set by the logon; 0: no heartbeats.
    heartbeat_s: Option<u64>,
    heard: Instant,
    tested: bool,
    subscriptions: BTreeMap<String, Subscription>,
    next_entry: u64,
}

async fn session(server: &Arc<Server>, stream: TcpStream) -> Result<(), Over> {
    let hub = &server.hub;
    let (mut reader, writer) = stream.into_split();
    let mut session = Session {
        hub: hub.clone(),
        secret: server.secret.clone(),
        writer,
        client: String::new(),
        client_sub: String::new(),
        next_in: 1,
        next_out: 1,
        heartbeat_s: None,
        heard: Instant::now(),
        tested: false,
        subscriptions: BTreeMap::new(),
        next_entry: 1,
    };
    let mut buffer = Vec::new();
    let logon = async {
        while session.heartbeat_s.is_none() {
            read(&mut reader, &mut buffer).await?;
            session.obey_all(&mut buffer).await?;
        }
        Ok::<_, Over>(())
    };
    tokio::time::timeout(LOGON_WITHIN, logon).await.map_err(|_| Over)??;
    let seconds = session.heartbeat_s.unwrap_or(0);
    let (mut source, mut beat) = (hub.source(), hub.heartbeat(seconds.max(1)));
    loop {
        let wanted: Vec<usize> = session.subscriptions.values().map(|s| s.symbol).collect();
        hub.subscribed(|symbol| wanted.contains(&symbol));
        // What is dropped of these loses nothing; what they lead to is done to its end.
        tokio::select! {
            read = read(&mut reader, &mut buffer) => {
                read?;
                session.obey_all(&mut buffer).await?;
            }
            _ = beat.tick(), if seconds > 0 => session.beat(beat.period()).await?,
            batch = source.next(|e| matches!(e, Event::Quote(_)) && wanted.contains(&e.symbol())) => {
                for event in &batch.events {
                    if let Event::Quote(quote) = event {
                        session.quote(quote).await?;
                    }
                }
                source.sent(&batch);
            }
        }
    }
}

/// Waits for bytes.
async fn read(reader: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Result<(), Over> {
    if reader.read_buf(buffer).await? == 0 { Err(Over) } else { Ok(()) }
}

impl Session {
    /// Obeys every whole message of the buffer.
    async fn obey_all(&mut self, buffer: &mut Vec<u8>) -> Result<(), Over> {
        loop {
            match wire::take(buffer) {
                Taken::Message(message) => self.obey(&message).await?,
                // A garbled message is as good as not sent: its number is missed when the next one comes.
                Taken::Garbled => {}
                Taken::Hopeless => return Err(Over),
                Taken::More => return Ok(()),
            }
        }
    }

    async fn obey(&mut self, message: &Fields) -> Result<(), Over> {
        self.heard = Instant::now();
        self.tested = false;
        let kind = message.text(35).to_string();
        let Some(seq) = message.number(34) else {
            return self.logout("Required tag missing: MsgSeqNum (34)").await;
        };
        if self.heartbeat_s.is_none() {
            return if kind == "A" { self.logon(message, seq).await } else { Err(Over) };
        }
        if kind == "4" {
            return self.reset(message, seq).await;
        }
        if seq > self.next_in {
            // Nothing is done out of turn: the client sends this one again behind those that are missing.
            return self.send("2", &[(7, self.next_in.to_string().as_str()), (16, "0")]).await;
        }
        if seq < self.next_in {
            if message.text(43) == "Y" {
                return Ok(());
            }
            let text = format!("MsgSeqNum too low, expecting {} but received {seq}", self.next_in);
            return self.logout(&text).await;
        }
        self.next_in += 1;
        match kind.as_str() {
            "0" | "3" => Ok(()),
            "1" => self.send("0", &[(112, message.text(112))]).await,
            "2" => self.resend(message).await,
            "5" => self.logout("").await,
            "x" => self.list(message).await,
            "V" => self.market_data(message, seq).await,
            _ => {
                let text = format!("Unsupported message type {kind}");
                self.send("j", &[(45, seq.to_string().as_str()), (372, kind.as_str()), (380, "3"), (58, text.as_str())])
                    .await
            }
        }
    }

    async fn logon(&mut self, message: &Fields, seq: u64) -> Result<(), Over> {
        (self.client, self.client_sub) = (message.text(49).into(), message.text(50).into());
        let config = self.hub.config.clone();
        let known = message.text(553) == config.user && message.text(554) == self.secret;
        let named = config.account.is_empty() || self.client == config.account;
        let whole = message.text(56).eq_ignore_ascii_case(SERVER) && message.text(57) == "QUOTE";
        let heartbeat = message.number(108).filter(|s| *s <= 3_600 && message.text(98) == "0" && seq == 1);
        match heartbeat.filter(|_| known && named && whole) {
            Some(seconds) => {
                (self.heartbeat_s, self.next_in) = (Some(seconds), 2);
                self.send("A", &[(98, "0"), (108, seconds.to_string().as_str()), (141, "Y")]).await
            }
            None => self.logout(BAD_LOGON).await,
        }
    }

    /// SequenceReset: the numbers up to NewSeqNo will not come.
    async fn reset(&mut self, message: &Fields, seq: u64) -> Result<(), Over> {
        match message.number(36) {
            Some(next) if next >= self.next_in && (message.text(123) != "Y" || seq <= self.next_in) => {
                self.next_in = next;
                Ok(())
            }
            Some(_) if message.text(43) == "Y" => Ok(()),
            _ => {
                let text = "Value is incorrect (out of range) for this tag";
                self.send("3", &[(45, seq.to_string().as_str()), (371, "36"), (372, "4"), (373, "5"), (58, text)]).await
            }
        }
    }

    /// Prices are not sent again: all that is asked for is skipped.
    async fn resend(&mut self, message: &Fields) -> Result<(), Over> {
        let from = message.number(7).unwrap_or(0).clamp(1, self.next_out);
        let next = self.next_out.to_string();
        self.write("4", from, true, &[(123, "Y"), (36, next.as_str())]).await
    }

    /// A heartbeat; and when nothing was heard for some time, a question, and then the end.
    async fn beat(&mut self, every: Duration) -> Result<(), Over> {
        let silence = self.heard.elapsed();
        if self.tested && silence > every * 3 {
            return self.logout("Heartbeat timeout").await;
        }
        if silence > every * 3 / 2 && !self.tested {
            self.tested = true;
            return self.send("1", &[(112, "TEST")]).await;
        }
        self.send::<&str>("0", &[]).await
    }

    async fn list(&mut self, message: &Fields) -> Result<(), Over> {
        let id = message.text(320).to_string();
        if id.is_empty() || message.text(559) != "0" {
            let text = "INVALID_REQUEST: Expected SecurityReqID and SecurityListRequestType 0";
            return self.send("j", &[(372, "x"), (380, "5"), (58, text)]).await;
        }
        let mut fields = vec![(320, id.clone()), (322, format!("responce:{id}")), (560, "0".to_string())];
        fields.push((146, self.hub.symbols.len().to_string()));
        for (at, symbol) in self.hub.symbols.iter().enumerate() {
            fields.extend([(55, (at + 1).to_string()), (1007, symbol.name.clone()), (1008, symbol.digits.to_string())]);
        }
        self.send("y", &fields).await
    }

    async fn market_data(&mut self, message: &Fields, seq: u64) -> Result<(), Over> {
        let id = message.text(262).to_string();
        let subscribes = message.text(263) == "1";
        if id.is_empty() || !["1", "2"].contains(&message.text(263)) || !["0", "1"].contains(&message.text(264)) {
            let text = "INVALID_REQUEST: Expected MDReqID, SubscriptionRequestType 1 or 2 and MarketDepth 0 or 1";
            return self.send("j", &[(45, seq.to_string().as_str()), (372, "V"), (380, "5"), (58, text)]).await;
        }
        let refused = match subscribes {
            true => self.subscribe(message, &id).await?,
            false if self.subscriptions.remove(&id).is_some() => None,
            false => Some(("8", format!("No subscription {id}"))),
        };
        match refused {
            Some((reason, text)) => {
                let text = format!("INVALID_REQUEST: {text}");
                self.send("Y", &[(262, id.as_str()), (281, reason), (58, text.as_str())]).await
            }
            None => Ok(()),
        }
    }

    /// Subscribes, or says why not: MDReqRejReason and words.
    async fn subscribe(&mut self, message: &Fields, id: &str) -> Result<Option<(&'static str, String)>, Over> {
        let named: Vec<&str> = message.all(55).collect();
        let [name] = named[..] else { return Ok(Some(("2", "Expected one symbol per request".into()))) };
        if self.subscriptions.contains_key(id) {
            return Ok(Some(("1", format!("Duplicate MDReqID {id}"))));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Ok(Some(("2", format!("More than {SUBSCRIPTIONS_MAX} subscriptions"))));
        }
        let Ok(number) = name.parse::<usize>() else {
            return Ok(Some(("0", format!("Expected numeric symbolId, but got {name}"))));
        };
        let Some(symbol) = number.checked_sub(1).filter(|at| *at < self.hub.symbols.len()) else {
            return Ok(Some(("0", format!("Symbol with id {number} is not found"))));
        };
        let book = (message.text(264) == "0").then(Book::default);
        self.subscriptions.insert(id.into(), Subscription { symbol, book, told: false });
        if let Some(quote) = self.hub.last(symbol) {
            self.tell(id, &quote).await?;
            self.hub.count(&[Event::Quote(quote)]);
        }
        Ok(None)
    }

    async fn quote(&mut self, quote: &Quote) -> Result<(), Over> {
        let has = |(id, s): (&String, &Subscription)| (s.symbol == quote.symbol).then(|| id.clone());
        let ids: Vec<String> = self.subscriptions.iter().filter_map(has).collect();
        for id in ids {
            self.tell(&id, quote).await?;
        }
        Ok(())
    }

    /// A quote in the words of one subscription: a whole W, or for a book a W first and then what changed.
    async fn tell(&mut self, id: &str, quote: &Quote) -> Result<(), Over> {
        let symbol = (quote.symbol + 1).to_string();
        let point = self.hub.symbols[quote.symbol].point_e9();
        let Some(subscription) = self.subscriptions.get_mut(id) else { return Ok(()) };
        let first = !std::mem::replace(&mut subscription.told, true);
        let (kind, fields) = match &mut subscription.book {
            None => {
                let (bid, ask) = (quote.bid.to_string(), quote.ask.to_string());
                let head = [(55, symbol), (262, id.to_string()), (268, "2".to_string())];
                let sides = [(269, "0".into()), (270, bid), (269, "1".into()), (270, ask)];
                ("W", head.into_iter().chain(sides).collect())
            }
            Some(book) => {
                let (gone, new) = book.follow(quote, point, &mut self.next_entry);
                // The same quote again changes nothing, and nothing is said.
                if !first && gone.is_empty() && new.is_empty() {
                    return Ok(());
                }
                if first { ("W", book::whole(&symbol, &new)) } else { ("X", book::changes(&symbol, &gone, &new)) }
            }
        };
        // 52 is the only time that a message of prices has.
        let seq = self.take_number();
        self.write_at(kind, seq, false, quote.event_ns, &fields).await
    }

    async fn logout(&mut self, text: &str) -> Result<(), Over> {
        let fields: &[(u32, &str)] = if text.is_empty() { &[] } else { &[(58, text)] };
        self.send("5", fields).await?;
        let _ = self.writer.shutdown().await;
        Err(Over)
    }

    fn take_number(&mut self) -> u64 {
        self.next_out += 1;
        self.next_out - 1
    }

    async fn send<T: AsRef<str>>(&mut self, kind: &str, fields: &[(u32, T)]) -> Result<(), Over> {
        let seq = self.take_number();
        self.write(kind, seq, false, fields).await
    }

    async fn write<T: AsRef<str>>(&mut self, kind: &str, seq: u64, again: bool, more: &[(u32, T)]) -> Result<(), Over> {
        self.write_at(kind, seq, again, clock::now_ns(), more).await
    }

    async fn write_at<T: AsRef<str>>(
        &mut self,
        kind: &str,
        seq: u64,
        again: bool,
        sent_ns: i64,
        more: &[(u32, T)],
    ) -> Result<(), Over> {
        let sub = if self.client_sub.is_empty() { "QUOTE" } else { &self.client_sub };
        let mut body = format!("35={kind}\x0134={seq}\x0149={SERVER}\x0150=QUOTE\x01");
        if again {
            body.push_str("43=Y\x01");
        }
        body.push_str(&format!("52={}\x0156={}\x0157={sub}\x01", stamp::fix(sent_ns), self.client));
        more.iter().for_each(|(tag, value)| body.push_str(&format!("{tag}={}\x01", value.as_ref())));
        self.writer.write_all(&wire::envelope(&body)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
