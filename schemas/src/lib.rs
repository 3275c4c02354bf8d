//! Wire records and framing of Tickwire: what crosses a socket, the journal and the rings.
