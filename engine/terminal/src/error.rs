use tickwire_schemas::control::{self, CloseCode, ControlError, ErrorCode};
use tickwire_schemas::frame::FrameError;

/// What can go wrong between a terminal and an engine.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TerminalError {
    /// The local side could not be set up: a socket, a certificate store, a fingerprint that is none.
    #[error("{0}")]
    Setup(String),
    /// No engine answered.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        reason: String,
    },
    /// The engine said no.
    #[error("the engine refused: {}{}", .0.text, .0.field.as_ref().map(|f| format!(" (field {f})")).unwrap_or_default())]
    Refused(control::Error),
    /// The engine closed the connection.
    #[error("the engine closed the connection: {reason}")]
    Closed {
        /// [`CloseCode`] on the wire.
        code: u32,
        /// Its sentence.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The engine sent what is not the protocol.
    #[error("the engine sent something that is not the protocol: {0}")]
    Protocol(String),
}

impl TerminalError {
    /// Whether the same thing may work later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            TerminalError::Connect { .. } | TerminalError::Lost(_) => true,
            TerminalError::Refused(error) => error.code == ErrorCode::TooManyTerminals,
            TerminalError::Closed { code, .. } => {
                ![CloseCode::Refused, CloseCode::Protocol].iter().any(|final_| final_.code() == *code)
            }
            TerminalError::Setup(_) | TerminalError::Protocol(_) => false,
        }
    }
}

impl From<ControlError> for TerminalError {
    fn from(error: ControlError) -> Self {
        TerminalError::Protocol(error.to_string())
    }
}

impl From<FrameError> for TerminalError {
    fn from(error: FrameError) -> Self {
        TerminalError::Protocol(error.to_string())
    }
}

impl From<quinn::ConnectionError> for TerminalError {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => TerminalError::Closed {
                code: u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            other => TerminalError::Lost(other.to_string()),
        }
    }
}

impl From<quinn::WriteError> for TerminalError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(lost) => lost.into(),
            other => TerminalError::Lost(other.to_string()),
        }
    }
}

impl From<quinn::ReadError> for TerminalError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(lost) => lost.into(),
            other => TerminalError::Lost(other.to_string()),
        }
    }
}
