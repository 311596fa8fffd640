//! runj: an OCI runtime for FreeBSD jails.
//!
//! Not started by std, which prepares for threads and for a stack that overflows: that costs more than some verbs do.
#![no_main]
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use runj::sys::heap::Heap;
use runj::sys::startup;

#[global_allocator]
static HEAP: Heap = Heap::new();
runj::give_malloc!(HEAP);

// libc before the libraries that std names: what FreeBSD's has of threads is then its own, which does nothing, and the
// library of threads (libthr, which asks the kernel thirty things before it begins) is left out as nobody starts any.
#[link(name = "c")]
unsafe extern "C" {}

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: these are a C main's.
    let args = unsafe { startup::arguments(argc, argv) };
    startup::prepare();
    runj::cli::main(args).into()
}
