//! The vocabulary: prices, sizes, instruments, sources and the inputs of the engine. Pure: no I/O, no clock.

pub mod broker_time;
pub mod calendar;
pub mod decimal;
pub mod indicator;
pub mod input;
pub mod instrument;
pub mod source;
pub mod time_text;

pub use broker_time::{BrokerClock, BrokerTime};
pub use calendar::{Calendar, Holidays, Span};
pub use decimal::{Decimal9, DecimalError, Price, Size};
pub use indicator::{IndicatorId, IndicatorName};
pub use input::{Input, InputRef, TickInput, TradeInput};
pub use instrument::{Class, Instrument, InstrumentId, InstrumentSpec};
pub use source::{Scope, Source, SourceId, VolumeOf};
