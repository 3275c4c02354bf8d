use std::net::SocketAddr;
use std::time::Duration;

use tickwire_schemas::control::{Delivery, Subscribe};

use crate::subscription::Memory;
use crate::{Event, Subscription, Terminal, TerminalError, Trust, Welcome};

/// First and longest wait before the next attempt to connect; it doubles between them.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Which engine, and who we are.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it proves who it is.
    pub trust: Trust,
    /// Who we are; empty for anonymous.
    pub token: String,
}

/// What a followed subscription says.
#[derive(Clone, Debug)]
pub enum Followed {
    /// Connected and subscribed.
    Connected {
        /// The engine's welcome.
        welcome: Box<Welcome>,
        /// True when the records continue where they were; false when a snapshot comes.
        resumed: bool,
        /// The engine was started anew since the last connection: numbers begin afresh.
        epoch_changed: bool,
    },
    /// An event of the subscription.
    Event(Event),
    /// The connection is gone; the next call waits this long and connects again.
    Lost {
        /// Why.
        error: TerminalError,
        /// The wait.
        retry_in: Duration,
    },
}

/// A subscription that connects again and continues after the last record it had, as far as the engine still has them.
/// `skipped` counts across connections.
pub struct Follow {
    target: Target,
    request: Subscribe,
    live: Option<(Terminal, Subscription)>,
    memory: Memory,
    failures: u32,
}

impl Follow {
    /// Nothing is done before the first [`Follow::next`].
    #[must_use]
    pub fn new(target: Target, request: Subscribe) -> Self {
        Follow { target, request, live: None, memory: Memory::default(), failures: 0 }
    }

    /// What happens next. Never ends by itself.
    ///
    /// # Errors
    /// What trying again cannot mend: a refused token, an unknown symbol, another certificate.
    pub async fn next(&mut self) -> Result<Followed, TerminalError> {
        let Some((_, subscription)) = &mut self.live else { return self.connect().await };
        let error = match subscription.next().await {
            Ok(Some(event)) => return Ok(Followed::Event(event)),
            Ok(None) => TerminalError::Lost("the engine ended the subscription".into()),
            Err(error) => error,
        };
        self.memory = std::mem::take(&mut subscription.memory);
        self.live = None;
        self.lost(error)
    }

    async fn connect(&mut self) -> Result<Followed, TerminalError> {
        if self.failures > 0 {
            tokio::time::sleep(self.wait()).await;
        }
        match self.attempt().await {
            Ok(connected) => Ok(connected),
            Err(error) => self.lost(error),
        }
    }

    async fn attempt(&mut self) -> Result<Followed, TerminalError> {
        let terminal = Terminal::connect(self.target.address, &self.target.trust, &self.target.token).await?;
        let mut request = self.request.clone();
        if request.delivery == Delivery::All {
            request.resume = self.memory.last.or(request.resume);
        }
        let mut subscription = terminal.subscribe(request).await?;
        let welcome = Box::new(terminal.welcome().clone());
        let epoch_changed = self.memory.last.is_some_and(|last| last.epoch != welcome.epoch);
        self.memory.enter(welcome.epoch);
        subscription.memory = std::mem::take(&mut self.memory);
        let resumed = subscription.subscribed().resumed;
        self.live = Some((terminal, subscription));
        self.failures = 0;
        Ok(Followed::Connected { welcome, resumed, epoch_changed })
    }

    fn lost(&mut self, error: TerminalError) -> Result<Followed, TerminalError> {
        if !error.is_retryable() {
            return Err(error);
        }
        self.failures = self.failures.saturating_add(1);
        Ok(Followed::Lost { error, retry_in: self.wait() })
    }

    fn wait(&self) -> Duration {
        (RETRY_FIRST * (1 << (self.failures.max(1) - 1).min(10))).min(RETRY_LONGEST)
    }
}
