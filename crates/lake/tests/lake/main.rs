//! The lake through its public face, on real object stores, some of which fail.

mod allowed;
mod copies;
mod derived;
mod duplicates;
mod erasure;
mod exactly_once;
mod ledgered;
mod maintenance;
mod oracle;
mod queries;
mod records;
mod sight;
mod size;
mod together;
mod versions;
mod world;
