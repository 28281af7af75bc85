//! What a worker gives up once it has its socket: decoders read what strangers send.
//!
//! Limits keep it from memory without end, from dumps and from new descriptors; a system-call filter
//! (seccomp(2)) from files, sockets, other programs and other processes, whatever a hostile stream
//! makes of a decoder. The filter names what is forbidden and not what is allowed: which calls libc
//! and FFmpeg need differs from release to release, and a worker that dies of a harmless one is no
//! gain. With it the process can gain no privileges.
//!
//! On a processor that the filter does not know, the limits alone hold.

use std::collections::BTreeMap;

use rustix::process::{Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Private writable memory a worker may have: decoder and queues of a 4K source with a whole ladder
/// stay below it; a leak or a hostile stream dies here and not in the server.
const MEMORY_LIMIT: u64 = 3 << 29;

/// Refused with "operation not permitted".
const FORBIDDEN: &[libc::c_long] = &[
    // Files, also by the ways around openat(2).
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_open_by_handle_at,
    libc::SYS_memfd_create,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_io_uring_setup,
    // Sockets: the one there is stays.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kill,
    // The kernel itself.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
];

/// The same by their older names, which not every processor has.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_OLD: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_fork,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_OLD: &[libc::c_long] = &[];

/// Why a worker runs without its filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no filter of system calls: {0}")]
    Build(#[from] seccompiler::BackendError),
    #[error("the kernel takes no filter of system calls: {0}")]
    Apply(#[from] seccompiler::Error),
}

/// Gives up what a worker needs no more, in all its threads, those to come included.
///
/// # Errors
/// If the filter does not hold. That is no reason not to run: the limits do.
pub(super) fn confine() -> Result<(), Error> {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    let _ = rustix::process::setrlimit(Resource::Data, limit(MEMORY_LIMIT));
    let _ = rustix::process::setrlimit(Resource::Core, limit(0));
    let _ = rustix::process::setrlimit(Resource::Nofile, limit(0));
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;

    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().chain(FORBIDDEN_OLD).map(|call| (*call, Vec::new())).collect();
    // A thread is a clone(2) with this flag; without it, it is another process.
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    let process =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    apply(rules, libc::EPERM, arch)?;
    // Its flags lie where a filter can't look: said to be unknown, libc takes clone(2) instead.
    apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS, arch)
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    error: i32,
    arch: TargetArch,
) -> Result<(), Error> {
    let refused = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?;
    let program = BpfProgram::try_from(filter)?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}
