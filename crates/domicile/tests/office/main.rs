//! What people and programs do with a center: tokens and roles, records, packs, and taking over what an older program left. The
//! real program in a folder of its own, by its commands and over HTTPS.
#![allow(unreachable_pub, reason = "this is a program of tests: what its modules share is public to them")]
#![allow(clippy::disallowed_methods, reason = "the tests wait in real time for a real process")]

mod adoption;
mod house;
mod packs;
mod records;
mod tokens;
