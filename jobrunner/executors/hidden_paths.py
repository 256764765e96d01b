"""Paths of the kernel that no job sees: the engine's own list, and what counts what other jobs do.

A file system, a disk or a processor is shared, and the kernel tells everybody how much each was used: two
jobs that work together talk through such a counter. A path that a kernel does not have is no mistake.
"""

from typing import Final

# The engine hides these by itself as long as no list is given; a list takes their place.
OF_THE_ENGINE: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
# What was read from and written to each disk, and the file behind a loop device: it has an attempt's name.
OF_DISKS: Final = (
    "/proc/diskstats",
    "/proc/fs",
    "/proc/partitions",
    "/proc/swaps",
    "/sys/block",
    "/sys/class",
    "/sys/dev",
    "/sys/devices",
    "/sys/fs/btrfs",
    "/sys/fs/ext4",
    "/sys/fs/f2fs",
    "/sys/fs/xfs",
)
# How busy processors and memory are, event by event.
OF_LOAD: Final = (
    "/proc/buddyinfo",
    "/proc/interrupts",
    "/proc/irq",
    "/proc/pagetypeinfo",
    "/proc/pressure",
    "/proc/schedstat",
    "/proc/softirqs",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/sys/kernel",
)
# How many of its things the kernel has given out to all together, and who has locks, keys and modules.
OF_TABLES: Final = (
    "/proc/key-users",
    "/proc/locks",
    "/proc/sys/fs",
    "/proc/sys/kernel/pty",
    "/sys/bus",
    "/sys/fs/fuse",
    "/sys/module",
    "/sys/power",
)
# Left open, since programs need them: /proc/stat, cpuinfo, meminfo, loadavg, uptime, cgroups, /sys/fs/cgroup.
HIDDEN: Final = (
    *OF_THE_ENGINE,
    *OF_DISKS,
    *OF_LOAD,
    *OF_TABLES,
)
