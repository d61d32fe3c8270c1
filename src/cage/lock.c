/*
 * What a worker may still do. The list was found by decoding every kind of picture with both versions of Debian's
 * libraries: memory (but none that can be executed), futexes and threads (AV1 and HEVC decoders start some), clocks,
 * the one socket, and its own end. All else fails with EPERM, which libraries take well: they look for configuration
 * and go on without. What only an attacker would try ends the process at once, and so shows in the metrics.
 *
 * Built with a sanitizer, the filter is left out: their run time needs more than this, and what they are there to find
 * they find all the same. So is the limit of address space, of which they take terabytes.
 */
#include "cage/protocol.h"

#include "base/sanitized.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t address_space_now(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool limit(__rlimit_resource_t what, uint64_t to)
{
    struct rlimit now;
    if (getrlimit(what, &now))
        return false;
    rlim_t value = (rlim_t)to < now.rlim_max ? (rlim_t)to : now.rlim_max;
    return setrlimit(what, &(struct rlimit){value, value}) == 0;
}

static bool set_limits(uint64_t memory_bytes)
{
    uint64_t now = address_space_now();
    bool ok = limit(RLIMIT_CORE, 0) && limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_NOFILE, 0);
    if (!SANITIZED && ok)
        ok = now && limit(RLIMIT_AS, now + memory_bytes);
    return ok;
}

/* Names, not numbers: one that an architecture or an older libseccomp does not know is skipped. */
static bool add_each(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR && seccomp_rule_add(filter, action, number, 0))
            return false;
    }
    return true;
}

static bool add_rules(scmp_filter_ctx filter)
{
    static const char *const allowed[] = {"read", "write", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg", "close", "munmap",
        "mremap", "madvise", "brk", "futex", "futex_waitv", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity",
        "clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep", "getrandom", "getpid", "gettid",
        "getcpu", "rt_sigprocmask", "rt_sigreturn", "rt_sigaction", "sigaltstack", "restart_syscall", "membarrier", "fstat", "lseek",
        "uname", "sysinfo", "exit", "exit_group", "poll", "ppoll", "set_tid_address"};
    static const char *const deadly[] = {"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev",
        "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "kill", "tkill", "mount", "umount2", "chroot",
        "pivot_root", "setns", "unshare", "bpf", "keyctl", "add_key", "perf_event_open", "userfaultfd", "init_module", "finit_module",
        "kexec_load", "reboot", "memfd_create", "io_uring_setup"};
    if (!add_each(filter, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof *allowed) ||
        !add_each(filter, SCMP_ACT_KILL_PROCESS, deadly, sizeof deadly / sizeof *deadly))
        return false;
    /* Memory, but none that can be executed. */
    if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) ||
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)))
        return false;
    /* Threads, but no processes. The arguments of clone3 cannot be seen from here: without it glibc takes clone. */
    if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) ||
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0))
        return false;
    /* Names for threads; asking for limits, not setting them; abort(). */
    return !seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0)) &&
           !seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0, 0)) &&
           !seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
}

enum result cage_lock_in(uint64_t memory_bytes, struct err *err)
{
    if (!set_limits(memory_bytes))
        return err_set_errno(err, errno, "the limits of the decoder's process cannot be set");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return err_set_errno(err, errno, "the decoder's process cannot give up its privileges");
    if (SANITIZED)
        return ERR_OK;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    bool ok = filter && add_rules(filter) && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return ok ? ERR_OK : err_set(err, ERR_UNAVAILABLE, "this kernel, or what runs around it, has no seccomp filters");
}
