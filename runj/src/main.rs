//! runj: an OCI runtime for FreeBSD jails.
fn main() {}
