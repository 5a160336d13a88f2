"""Small disks of a test's own, to be filled, frozen and cut off: loop-mounted ext4, and tmpfs. They need root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

KINDS = ("ext4-4096", "ext4-1024", "tmpfs")


@dataclass(frozen=True)
class Disk:
    """A file system mounted at `path`."""

    kind: str
    path: Path
    image: Path | None = None

    @property
    def free(self) -> int:
        """Bytes that a user may still write."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    @property
    def ballast(self) -> Path:
        """What fills it."""
        return self.path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Let somebody else's file take all that is free, to the last block, but for about `leave` bytes."""
        with self.ballast.open("ab", buffering=0) as file:
            for step in (1 << 16, 1024, 1):
                with suppress(OSError):
                    while self.free > leave:
                        file.write(b"x" * min(step, max(1, self.free - leave)))
            os.fsync(file.fileno())

    def remount(self) -> None:
        """Unmount it and mount its image again: what didn't get there is forgotten."""
        _do("umount", self.path)
        _do("mount", "-o", "loop", self.image, self.path)

    def clear(self) -> None:
        """Take that file away again."""
        self.ballast.unlink()


@contextmanager
def mounted(kind: str, folder: Path, size: int = 16 << 20) -> Iterator[Disk]:
    """A disk of `size` bytes of that kind (`ext4-BLOCKSIZE` or `tmpfs`), with its image in `folder`."""
    at = folder / f"disk-{kind}"
    at.mkdir()
    image = None
    if kind == "tmpfs":
        _do("mount", "-t", "tmpfs", "-o", f"size={size}", "none", at)
    else:
        image = folder / f"{kind}.img"
        with image.open("wb") as file:
            file.truncate(size)
        _do("mkfs.ext4", "-q", "-b", kind.partition("-")[2], "-m", "0", image)
        _do("mount", "-o", "loop", image, at)
    try:
        yield Disk(kind, at, image)
    finally:
        _do("umount", "--lazy", at)


@contextmanager
def served(program: str, folder: Path) -> Iterator[Path]:
    """A directory that a program serves by FUSE, which calls itself `program`."""
    behind, at = folder / "behind", folder / "served"
    behind.mkdir()
    at.mkdir()
    _do("bindfs", "-o", f"subtype={program}", behind, at)
    try:
        yield at
    finally:
        _do("umount", "--lazy", at)


def _do(*command: object) -> None:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run([str(part) for part in command], check=True, capture_output=True, env=environment)
