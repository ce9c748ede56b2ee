//! What is entered: one JSON object an entry, keys in a fixed order.
