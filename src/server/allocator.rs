//! How much memory the allocator keeps for later.
//!
//! glibc gives each thread an arena of its own and returns little of what was
//! freed there, so a burst of uploads on the blocking threads would stay in our
//! resident memory for ever: after the same load, 178 MiB instead of 62. Two arenas
//! are enough, and what lies free at the end of one goes back to the system,
//! but not at once: buffers of a connection that uploads are some 400 KiB, and to map
//! and unmap each of them costs more than all else that is done with a gigabyte but its hash.

/// Bytes that may lie free at the end of an arena.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD: i32 = 8 * 1024 * 1024;

/// Bytes from which an allocation is mapped alone, and so returned when freed. Set,
/// since glibc otherwise raises it with each large block that is freed.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: i32 = 4 * 1024 * 1024;

/// Tells the allocator to keep less. Meant for the start of a server, before its threads.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator's settings are a C function without a safe binding")]
pub fn keep_little() {
    // SAFETY: `mallopt` takes two integers and changes settings of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Gives back what lies free between blocks that are in use: what a burst leaves behind would
/// otherwise stay for as long as one of them does. Takes milliseconds, in which others may have
/// to wait for memory.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator's settings are a C function without a safe binding")]
pub(super) fn give_back() {
    // SAFETY: `malloc_trim` takes an integer, and touches nothing but free blocks, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators are left as they are.
#[cfg(not(target_env = "gnu"))]
pub fn keep_little() {}

/// They give back what they will.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
