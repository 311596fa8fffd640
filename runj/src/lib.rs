//! runj
