//! FreeBSD: the kernel itself.
