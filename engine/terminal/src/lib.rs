//! Client library for trading terminals.
