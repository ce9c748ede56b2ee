//! The lake through its public face, on real object stores, some of which fail.

mod duplicates;
mod exactly_once;
mod oracle;
mod queries;
mod size;
mod together;
mod versions;
mod world;
