//! The section `[instruments.SYMBOL]`.

use std::collections::BTreeMap;

use crate::config::{Config, ConfigError};
pub use crate::market::InstrumentSpec;

/// The configured instruments by canonical symbol.
///
/// # Errors
/// [`ConfigError::Key`] for a symbol that is not letters and digits in capitals, a pip that is not positive, or more
/// digits than a price holds.
pub fn instruments(config: &Config) -> Result<BTreeMap<String, InstrumentSpec>, ConfigError> {
    let specs: BTreeMap<String, InstrumentSpec> = config.section("instruments")?;
    for (symbol, spec) in &specs {
        let key = format!("instruments.{symbol}");
        if symbol.is_empty() || !symbol.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
            return Err(config.bad_key(&key, "expected a symbol of capital letters and digits such as EURUSD"));
        }
        if spec.pip.e9() <= 0 {
            return Err(
                config.bad_key(&format!("{key}.pip"), format!("{} is not a pip, expected more than zero", spec.pip))
            );
        }
        if spec.digits > 9 {
            return Err(
                config.bad_key(&format!("{key}.digits"), format!("{} is more than the 9 a price holds", spec.digits))
            );
        }
    }
    Ok(specs)
}
