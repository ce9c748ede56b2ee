//! Holds the store against the ledger, both ways.
