//! The transparency log of a center: a C2SP tlog-tiles log in the object store.
