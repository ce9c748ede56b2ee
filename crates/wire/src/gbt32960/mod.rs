//! GB/T 32960.3, editions of 2016 and 2025.

pub mod names;
