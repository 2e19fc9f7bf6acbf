"""The process's limit of open files: every connection is one."""

import resource


def allow_open_files(wanted: int) -> int:
    """Raise the limit to `wanted` as far as the system lets a process do it itself; the limit that then holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    allowed = wanted if hard == unlimited else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
