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

_FUSE = 0x65735546  # what a program serves: which one stands in mountinfo(5), as "fuse.sshfs"
_REMOTE = (
    *("sshfs", "s3fs", "rclone", "gcsfuse", "goofys", "blobfuse", "blobfuse2", "juicefs", "seaweedfs"),
    *("glusterfs", "ceph", "ceph-fuse", "davfs", "curlftpfs", "smbnetfs"),
)

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


def network(directory: str) -> str:
    """The name of the network file system there, the empty text where it is none."""
    found = kind(directory)
    if found == _FUSE and (program := _program(directory)) in _REMOTE:
        return program
    return NETWORKS.get(found, "")


def _program(directory: str) -> str:
    try:
        device = os.stat(directory).st_dev
        with open("/proc/self/mountinfo", errors="replace") as mounts:
            for line in mounts:
                fields, _, rest = line.partition(" - ")
                if fields.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    return rest.split()[0].removeprefix("fuse.")
    except OSError:
        pass
    return ""


def name(directory: str) -> str:
    """A word for the kind of file system, where it is one of those that don't suit; else the empty text."""
    return network(directory) or PASSING.get(kind(directory), "")


def check(path: str) -> None:
    """Raise ConfigError for a file on a network file system."""
    if name := network(os.path.dirname(path)):
        raise ConfigError(
            f"{path} is on a network file system ({name}), where SQLite's WAL loses jobs. Nothing was stored; name a file on a "
            "local disk"
        )
