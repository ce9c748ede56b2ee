//! The book and its verification on real stores: what is entered verifies, and whatever is done to a store is found.
#![cfg(feature = "writer")]

mod copying;
mod damage;
mod history;
mod proofs;
mod recovery;
mod running;
mod world;
