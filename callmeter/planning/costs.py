"""What memory, disks and objects of a plan cost a month, by prices that the operator knows better."""

from dataclasses import dataclass

GB = 1e9
# Redis rewrites its append-only file when it has doubled.
DISK_PER_DATA = 2.0


@dataclass(frozen=True)
class StoragePrices:
    """US dollars for a GB (10^9 bytes) kept a month.

    The defaults are of the order of what large clouds ask on demand: memory of a machine with its part of the cores,
    a general disk, a bucket.
    """

    ram_usd: float = 5.0
    disk_usd: float = 0.08
    objects_usd: float = 0.023

    def __post_init__(self) -> None:
        if min(self.ram_usd, self.disk_usd, self.objects_usd) < 0:
            raise ValueError("prices are not negative")


@dataclass(frozen=True)
class MonthlyCosts:
    """US dollars a month, each beside the bytes that are paid for."""

    ram_bytes: float
    ram_usd: float
    disk_bytes: float
    disk_usd: float
    objects_bytes: float
    objects_usd: float

    @property
    def total_usd(self) -> float:
        """Return all three together."""
        return self.ram_usd + self.disk_usd + self.objects_usd


def monthly_costs(redis_bytes: float, filled: float, objects_bytes: float, prices: StoragePrices) -> MonthlyCosts:
    """Return what data of so many bytes in Redis, which may fill that part of its memory, and in objects costs."""
    ram_bytes, disk_bytes = redis_bytes / filled, redis_bytes * DISK_PER_DATA
    return MonthlyCosts(
        ram_bytes,
        ram_bytes / GB * prices.ram_usd,
        disk_bytes,
        disk_bytes / GB * prices.disk_usd,
        objects_bytes,
        objects_bytes / GB * prices.objects_usd,
    )
