"""Whether this user may use a file, or make it there: asked before anything is opened, since looking makes none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from spoolq.errors import NoAccess, NoPlace


def there(path: Path) -> bool:
    """Whether that file is there. Raises NoAccess where this user may not use it, or not even look for it, and NoPlace where
    nobody can write it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise NoAccess(f"{path}: this user may not look there; run this as the user whose jobs they are") from error
    except OSError as error:  # a disk that fails, a name that is too long
        raise NoAccess(f"{path} can't be looked at: {error.strerror}") from error
    if not os.access(path, os.R_OK | os.W_OK):
        if read_only(path):
            raise NoPlace(f"{path}: its file system is read-only; look why (a disk with errors?), and mount it for writing again")
        raise NoAccess(f"{path}: this user may not read and write it; run this as the user whose jobs they are")
    return True


def read_only(path: Path) -> bool:
    """Whether the file system there can't be written by anybody, as when the kernel met errors of the disk."""
    with suppress(OSError):
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return False


def unwritable(folder: Path) -> str | None:
    """Why no file can be made in that directory, None where one can."""
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    return f"{folder} is on a read-only file system" if read_only(folder) else f"{folder} isn't writable for this user"


def folder(path: Path, *, default: bool) -> Path:
    """The directory that must be there for that file to be made. A default's own directories are made when they are needed,
    so there it is the nearest one that exists."""
    parent = path.parent
    while default and not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return parent
