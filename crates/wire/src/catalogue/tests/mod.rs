//! Holds the catalogue's files valid in themselves, and against the facts that they are made from where those are at hand.

mod facts;
mod files;
mod values;
