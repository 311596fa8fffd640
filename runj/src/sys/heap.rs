//! The program's allocator, for Rust and, on FreeBSD, for libc too.
//!
//! A verb lives for milliseconds and allocates little. What malloc(3) of FreeBSD does for programs that live long costs
//! it more than all that it allocates: before main it makes locks for arenas and asks the kernel for mappings, each with page
//! tables of its own. This one has its first memory in the program's bss and prepares nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::{Allocator, Dlmalloc};
use nix::errno::Errno;

/// Bytes in the bss; pages of it that are not used cost nothing. More than a verb needs whose bundle has no hundreds of mounts.
const FIRST: usize = 256 << 10;

/// Bytes of a page, or a multiple of them, on every machine that runj is built for.
const PAGE: usize = 4096;

/// What all pieces are aligned to, in bytes.
const ALIGNED: usize = 2 * size_of::<usize>();

/// The flag of memory that is never given back, as dlmalloc has it.
const EXTERN: u32 = 1;

/// Where memory comes from: the bss first, then mmap(2).
#[repr(C, align(4096))]
#[derive(Debug)]
struct Source {
    first: UnsafeCell<[u8; FIRST]>,
    taken: AtomicBool,
}

// SAFETY: no memory is handed out twice, since mmap(2) does not, and `taken` changes once.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

// SAFETY: each piece is new, writable and as large as is said.
#[allow(clippy::not_unsafe_ptr_arg_deref, reason = "it is the trait that is unsafe")]
unsafe impl Allocator for &'static Source {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size <= FIRST && !self.taken.swap(true, Ordering::Relaxed) {
            return (self.first.get().cast(), FIRST, EXTERN);
        }
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANON | libc::MAP_PRIVATE);
        // SAFETY: asks for memory anywhere.
        let memory = unsafe { libc::mmap(ptr::null_mut(), size, access, kind, -1, 0) };
        if memory == libc::MAP_FAILED { (ptr::null_mut(), 0, 0) } else { (memory.cast(), size, 0) }
    }

    fn remap(&self, _memory: *mut u8, _old: usize, _new: usize, _may_move: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, memory: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: dlmalloc has no more use for what it asks to be freed, which is of one mapping.
        unsafe { libc::munmap(memory.add(new).cast(), old - new) == 0 }
    }

    fn free(&self, memory: *mut u8, size: usize) -> bool {
        self.free_part(memory, size, 0)
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

/// Sets errno where there is no memory, as C's functions do.
fn said(memory: *mut u8) -> *mut c_void {
    if memory.is_null() {
        Errno::ENOMEM.set();
    }
    memory.cast()
}

/// An allocator. Its lock is for form's sake: in the program whose memory this is nobody starts a thread.
pub struct Heap {
    memory: UnsafeCell<Dlmalloc<&'static Source>>,
    locked: AtomicBool,
}

// SAFETY: `memory` is used only under the lock.
unsafe impl Sync for Heap {}

impl std::fmt::Debug for Heap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

/// The first memory of the one heap that there is.
static SOURCE: Source = Source { first: UnsafeCell::new([0; FIRST]), taken: AtomicBool::new(false) };

impl Heap {
    /// A heap of which nothing is used; for one static, since of its first memory there is one.
    #[expect(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self { memory: UnsafeCell::new(Dlmalloc::new_with_allocator(&SOURCE)), locked: AtomicBool::new(false) }
    }

    /// Works under the lock. What works neither panics nor asks for memory of this heap.
    #[inline(always)]
    fn with<T>(&self, work: impl FnOnce(&mut Dlmalloc<&'static Source>) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: whoever has set the flag is alone.
        let done = work(unsafe { &mut *self.memory.get() });
        self.locked.store(false, Ordering::Release);
        done
    }

    /// malloc(3)
    #[inline(never)]
    pub fn c_malloc(&self, size: usize) -> *mut c_void {
        // SAFETY: any size will do.
        said(self.with(|memory| unsafe { memory.c_malloc(size) }))
    }

    /// calloc(3)
    pub fn c_calloc(&self, count: usize, size: usize) -> *mut c_void {
        let Some(bytes) = count.checked_mul(size) else { return said(ptr::null_mut()) };
        // SAFETY: the alignment is that of `c_malloc`.
        said(self.with(|memory| unsafe { memory.calloc(bytes, ALIGNED) }))
    }

    /// posix_memalign(3) and aligned_alloc(3); `align` is a power of two.
    #[inline(never)]
    pub fn c_memalign(&self, align: usize, size: usize) -> *mut c_void {
        // SAFETY: the caller says that the alignment is a power of two.
        said(self.with(|memory| unsafe { memory.c_memalign(align, size) }))
    }

    /// realloc(3)
    ///
    /// # Safety
    ///
    /// The memory is null, or of this heap and not freed.
    #[inline(never)]
    pub unsafe fn c_realloc(&self, memory: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the caller vouches for it.
        said(self.with(|heap| unsafe { heap.c_realloc(memory.cast(), size) }))
    }

    /// free(3)
    ///
    /// # Safety
    ///
    /// As for [`Heap::c_realloc`].
    #[inline(never)]
    pub unsafe fn c_free(&self, memory: *mut c_void) {
        // SAFETY: the caller vouches for it.
        self.with(|heap| unsafe { heap.c_free(memory.cast()) });
    }
}

// Nothing here is inlined: each of thousands of callers would be larger for it, by a tenth of the program in all.
//
// SAFETY: dlmalloc's promises are these; what it hands out may be freed and resized with and without a layout.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNED {
            self.c_malloc(layout.size()).cast()
        } else {
            self.c_memalign(layout.align(), layout.size()).cast()
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, memory: *mut u8, _layout: Layout) {
        // SAFETY: the memory is of this heap.
        unsafe { self.c_free(memory.cast()) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is the caller's.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    #[inline(never)]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the memory is of this heap, with this layout.
        self.with(|heap| unsafe { heap.realloc(memory, layout.size(), layout.align(), size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Pieces of all sizes are aligned, apart from each other, keep what is in them when they grow, and are used again.
    #[test]
    fn pieces_are_aligned_apart_and_used_again() {
        static HEAP: Heap = Heap::new();
        let sizes = [(1, 1), (3, 8), (5, 64), (1, 1), (100, 4096), (FIRST, 16), (3 * FIRST, 1)];
        let mut highest = Vec::new();
        for round in 0..100 {
            let pieces: Vec<_> = sizes
                .into_iter()
                .zip(1..)
                .map(|((size, align), byte)| {
                    // SAFETY: the size is not 0, and nobody else has the piece.
                    let piece = unsafe {
                        let piece = HEAP.alloc(layout(size, align));
                        assert_eq!(piece.addr() % align, 0);
                        ptr::write_bytes(piece, byte, size);
                        HEAP.realloc(piece, layout(size, align), size + round)
                    };
                    (piece, layout(size + round, align), size, byte)
                })
                .collect();
            highest.push(pieces.iter().map(|(piece, ..)| piece.addr()).max());
            for (piece, layout, size, byte) in pieces {
                // SAFETY: the piece has at least these bytes, and is freed once.
                unsafe {
                    assert!(std::slice::from_raw_parts(piece, size).iter().all(|found| *found == byte));
                    HEAP.dealloc(piece, layout);
                }
            }
        }
        highest.sort_unstable();
        highest.dedup();
        assert!(highest.len() < 20, "memory is never used again: {highest:?}");
    }

    #[test]
    fn malloc_of_c() {
        static HEAP: Heap = Heap::new();
        // SAFETY: what is freed is of this heap, once.
        unsafe {
            let zeros = HEAP.c_calloc(10, 10).cast::<u8>();
            assert_eq!(std::slice::from_raw_parts(zeros, 100), [0; 100]);
            let grown = HEAP.c_realloc(zeros.cast(), 1 << 20).cast::<u8>();
            assert_eq!(std::slice::from_raw_parts(grown, 100), [0; 100]);
            HEAP.c_free(grown.cast());
            HEAP.c_free(ptr::null_mut());
            assert!(HEAP.c_calloc(usize::MAX, 2).is_null());
            assert!(HEAP.c_malloc(usize::MAX / 2).is_null());
            let aligned = HEAP.c_memalign(4096, 1);
            assert_eq!(aligned.addr() % 4096, 0);
            HEAP.c_free(HEAP.c_realloc(ptr::null_mut(), 5));
            HEAP.c_free(aligned);
        }
    }
}
