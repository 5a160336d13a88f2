"""Which file systems can't hold a queue: WAL needs memory that all its processes share, and a network has none."""

from __future__ import annotations

import ctypes
import os
import sys

from spoolq.errors import ConfigError

# f_type of statfs(2), from linux/magic.h and the kernel modules themselves
NETWORKS = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x01021997: "9P",
    0x0BD00BD0: "Lustre",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x47504653: "GPFS",
}

PASSING = {0x01021994: "tmpfs", 0x858458F6: "ramfs", 0x794C7630: "overlay"}
"""Those that don't outlive the machine's next boot, or the container."""


def kind(directory: str) -> int:
    """The type of the file system there, 0 where it can't be told."""
    if sys.platform != "linux":
        return 0
    answer = (ctypes.c_long * 64)()  # larger than any struct statfs; the type is its first member
    if ctypes.CDLL(None).statfs(os.fsencode(directory), ctypes.byref(answer)):
        return 0
    return answer[0] & 0xFFFFFFFF


def name(directory: str) -> str:
    """A word for the kind of file system, where it is one of those that don't suit; else the empty text."""
    return {**NETWORKS, **PASSING}.get(kind(directory), "")


def check(path: str) -> None:
    """Raise ConfigError for a file on a network file system."""
    name = NETWORKS.get(kind(os.path.dirname(path)))
    if name is not None:
        raise ConfigError(
            f"{path} is on a network file system ({name}), where SQLite's WAL loses jobs. Nothing was stored; name a file on a "
            "local disk"
        )
