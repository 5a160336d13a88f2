"""This user's own directory for small files that needn't outlive a boot.

It is this user's alone, and nothing is read or written through a link, so that nobody else can put words into a process's
mouth, or have a file of this user's overwritten.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence


class Folder:
    """`spoolq-UID` in the first of these directories that can be trusted, and in it the directory `name`, if one is given. They
    are looked for once, when the folder is first needed."""

    def __init__(self, directories: Callable[[], Sequence[str]], name: str = "") -> None:
        self._directories, self._name = directories, name
        self._path: str | None = None

    @property
    def path(self) -> str:
        """Where it is, or would be; empty where there is no place for one."""
        if self._path is None:
            base = next((directory for directory in self._directories() if _ours_to_use(directory)), None)
            self._path = "" if base is None else os.path.join(base, f"spoolq-{os.geteuid()}", self._name).rstrip("/")
        return self._path

    @contextlib.contextmanager
    def opened(self, *, make: bool = False) -> Iterator[int]:
        """Its descriptor. Raises OSError where it isn't a directory, or isn't this user's alone."""
        path = self.path
        if make and path:
            for each in (os.path.dirname(path), path) if self._name else (path,):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(each, 0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            about = os.fstat(folder)
            if about.st_uid != os.geteuid() or about.st_mode & 0o022:
                raise PermissionError(path)
            yield folder
        finally:
            os.close(folder)

    def after_fork(self) -> None:
        """In a forked child, which may become another user: look for the place again."""
        self._path = None


def _ours_to_use(directory: str) -> bool:
    """Whether nobody else can put another directory in the place of ours there."""
    try:
        about = os.stat(directory)
    except OSError:
        return False
    if not os.path.isabs(directory) or not stat.S_ISDIR(about.st_mode) or not os.access(directory, os.W_OK | os.X_OK):
        return False
    return bool(about.st_mode & stat.S_ISVTX) or (about.st_uid == os.geteuid() and not about.st_mode & 0o022)
