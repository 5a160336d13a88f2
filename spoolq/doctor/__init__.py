"""Is this deployment well? Each trap that spoolq knows is a check, with its remedy. Looking changes nothing."""

from __future__ import annotations

from spoolq.doctor.case import Check
from spoolq.doctor.catalogue import CHECKS
from spoolq.doctor.round import check
from spoolq.store.upkeep import Finding

__all__ = ["CHECKS", "Check", "Finding", "check"]
