"""What the operating system says of processes."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that a process of one thread has started, and that have not been waited for."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
