//! The one place that speaks to the C library's allocator, which libtorch's tensors on the processor come from.
#![allow(unsafe_code)]

/// Has the process keep the memory of freed tensors for the next ones, and says whether it does from now on.
///
/// The C library of Linux gives blocks of more than some megabytes back to the system as they are freed, and the next
/// tensor of that size is new memory, which the system fills with zeros page by page as it is first written. A forward pass
/// of a ResNet-50 on eight images can spend much of its time in this. After this call, freed memory stays with the
/// process, as libtorch's allocator for GPUs has it: the process holds what it held at its peak until it ends.
///
/// For programs to call once as they start, before there are large tensors; a library should leave it to them. It
/// concerns every allocation of the process, and large ones of a few threads share one heap. With another C library than
/// glibc nothing is changed, and the answer is no.
///
/// ```
/// let kept = models::keep_freed_memory();
/// assert_eq!(kept, cfg!(all(target_os = "linux", target_env = "gnu")));
/// ```
pub fn keep_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const NEVER: i32 = -1;
        const AT_ONCE: i32 = 64 << 20;
        // SAFETY: mallopt sets numbers that the allocator goes by from then on, under its own lock; it may be called at
        // any time on any thread, blocks that are there stay valid, and a value that it does not take changes nothing.
        let set = |parameter, value| unsafe { libc::mallopt(parameter, value) } == 1;
        set(libc::M_MMAP_MAX, 0) && set(libc::M_TRIM_THRESHOLD, NEVER) && set(libc::M_TOP_PAD, AT_ONCE)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}
