//! The program's allocator: a piece of memory that is handed out from its beginning to its end.
//!
//! A verb lives for milliseconds, and most of what it allocates it needs to its end. FreeBSD's malloc(3) asks the kernel for
//! a mapping for each size of allocation, which costs more than all else that a verb does; this asks for nothing. What does
//! not fit any more, in a `run` or `stats` that lives long, is malloc's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the arena; pages of it that are not used cost nothing.
const SIZE: usize = 1 << 20;

/// Hands out its own memory, then malloc's. Of what is returned only the last piece is used again.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Arena {
    memory: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: no byte of `memory` is handed out twice at a time, since who takes or returns one moves `used` in one step.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of which nothing is used.
    #[expect(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }

    /// A piece of the arena.
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            // The arena begins at a page, so an offset is aligned where the address is, up to a page.
            let start = used.checked_next_multiple_of(layout.align())?;
            let end = start.checked_add(layout.size()).filter(|&end| end <= SIZE && layout.align() <= 4096)?;
            match self.used.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `start` is within the arena.
                Ok(_) => return NonNull::new(unsafe { self.memory.get().cast::<u8>().add(start) }),
                Err(now) => used = now,
            }
        }
    }

    /// Where a piece of the arena begins; none for memory of malloc's.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        piece.addr().checked_sub(self.memory.get().addr()).filter(|&offset| offset < SIZE)
    }

    /// Makes the last piece end elsewhere; whether it was the last and its new end is within the arena.
    fn resize(&self, start: usize, size: usize, new_size: usize) -> bool {
        start.checked_add(new_size).is_some_and(|end| {
            end <= SIZE && self.used.compare_exchange(start + size, end, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }
}

// Nothing here is inlined: each of thousands of callers would be larger for it, by a tenth of the program in all.
//
// SAFETY: what is handed out is aligned, within the arena or malloc's, and nobody else's until it is returned.
unsafe impl GlobalAlloc for Arena {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(piece) => piece.as_ptr(),
            // SAFETY: the layout is the caller's.
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            Some(start) => drop(self.resize(start, layout.size(), 0)),
            // SAFETY: not of the arena, so malloc's, with this layout.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(start) = self.offset(piece) else {
            // SAFETY: as for `dealloc`.
            return unsafe { System.realloc(piece, layout, new_size) };
        };
        if self.resize(start, layout.size(), new_size) || new_size <= layout.size() {
            return piece;
        }
        // SAFETY: the caller promises that `new_size` makes a layout with this alignment.
        let larger = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the layout's size is not 0, since it is larger than another.
        let moved = unsafe { self.alloc(larger) };
        if !moved.is_null() {
            // SAFETY: both are at least `layout.size()` bytes, and `moved` is new.
            unsafe { ptr::copy_nonoverlapping(piece, moved, layout.size()) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Bytes that a piece is filled with and still has after others were taken.
    #[expect(clippy::mut_from_ref, reason = "as of any allocator")]
    fn filled(arena: &Arena, size: usize, align: usize, byte: u8) -> &mut [u8] {
        // SAFETY: the size is not 0; the piece is `size` bytes that nobody else has.
        let piece = unsafe { std::slice::from_raw_parts_mut(arena.alloc(layout(size, align)), size) };
        assert_eq!(piece.as_ptr().addr() % align, 0);
        piece.fill(byte);
        piece
    }

    #[test]
    fn pieces_are_aligned_and_apart() {
        static ARENA: Arena = Arena::new();
        let pieces: Vec<_> = [(1, 1), (3, 8), (5, 64), (1, 1), (100, 4096)]
            .into_iter()
            .zip(1..)
            .map(|((size, align), byte)| (filled(&ARENA, size, align, byte), byte))
            .collect();
        assert!(pieces.iter().all(|(piece, byte)| piece.iter().all(|found| found == byte)));
    }

    #[test]
    fn the_last_piece_grows_shrinks_and_is_used_again() {
        static ARENA: Arena = Arena::new();
        let first = filled(&ARENA, 10, 1, 1).as_mut_ptr();
        // SAFETY: each piece is the arena's, with the layout that it has by then.
        unsafe {
            assert_eq!(ARENA.realloc(first, layout(10, 1), 20), first);
            assert_eq!(ARENA.realloc(first, layout(20, 1), 4), first);
            let second = ARENA.alloc(layout(4, 1));
            assert_eq!(second, first.add(4));
            let moved = ARENA.realloc(first, layout(4, 1), 8);
            assert_eq!(moved, second.add(4));
            assert_eq!(std::slice::from_raw_parts(moved, 4), [1; 4]);
            ARENA.dealloc(moved, layout(8, 1));
            assert_eq!(ARENA.alloc(layout(1, 1)), moved);
        }
    }

    #[test]
    fn what_does_not_fit_is_of_malloc() {
        static ARENA: Arena = Arena::new();
        let large = filled(&ARENA, SIZE + 1, 1, 1).as_mut_ptr();
        assert_eq!(ARENA.offset(large), None);
        let small = filled(&ARENA, 8, 8, 2).as_mut_ptr();
        assert!(ARENA.offset(small).is_some());
        // SAFETY: as above.
        unsafe {
            let grown = ARENA.realloc(small, layout(8, 8), SIZE + 8);
            assert_eq!(ARENA.offset(grown), None);
            assert_eq!(std::slice::from_raw_parts(grown, 8), [2; 8]);
            let grown = ARENA.realloc(grown, layout(SIZE + 8, 8), SIZE + 16);
            assert_eq!(std::slice::from_raw_parts(grown, 8), [2; 8]);
            ARENA.dealloc(grown, layout(SIZE + 16, 8));
            ARENA.dealloc(large, layout(SIZE + 1, 1));
        }
    }
}
