//! Linux: jail(2) emulated on namespaces.
//!
//! It is not a security boundary (docs/linux-emulation.md).
