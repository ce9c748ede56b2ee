//! The ledger of a real center, held against verifiers and a witness that are not ours: Tessera's fsck, the auditor's script,
//! litewitness. Where one of them is not installed (`make test` does it, with Go), its part says so and the rest is tested.
#![allow(unreachable_pub, reason = "this is a program of tests: what its modules share is public to them")]
#![allow(clippy::disallowed_methods, reason = "the tests wait in real time for real processes")]

mod bad_input;
#[path = "../serve/center.rs"]
#[allow(dead_code, reason = "the harness serves the tests of vehicles too")]
mod center;
mod outside;
mod proofs;
mod scripts;
mod traffic;
mod verifiers;
mod witness;
