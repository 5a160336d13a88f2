"""Every check there is, in the order in which they are told where none is worse than another."""

from __future__ import annotations

from collections.abc import Sequence

from spoolq.doctor import host, server, spool, work
from spoolq.doctor.case import Check

CHECKS: Sequence[Check] = (*server.ROOM.checks, *spool.ROOM.checks, *work.ROOM.checks, *host.ROOM.checks)
