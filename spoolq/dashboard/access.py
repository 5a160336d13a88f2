"""Who may come in: one password by HTTP's Basic authentication (RFC 7617), compared in constant time, and slowed where somebody
tries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

FREE = 5  # wrong passwords of an address before it has to wait
LONGEST = 60.0  # seconds,
_STEPS = 10  # which it has reached after so many more: who goes on for a day must not leave the range of a float
FORGET = 900.0  # seconds without another wrong one
MOST = 10_000  # addresses that are known


class Visitor(NamedTuple):
    """Who asks: the user name that was given with the password (a name for the journal, nobody checks it), empty without one,
    and the address that the connection came from."""

    user: str
    address: str

    def __str__(self) -> str:
        return f"{self.user or 'somebody'} at {self.address}"


class Door:
    """One password, and the addresses that gave wrong ones lately."""

    def __init__(self, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = _digest(password)
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds for which nothing that comes from there is looked at yet."""
        count, at = self._wrong.get(_place(address), (0, 0.0))
        return max(0.0, at + min(LONGEST, 2.0 ** min(count - FREE, _STEPS)) - self._clock()) if count >= FREE else 0.0

    def enter(self, address: str, header: str) -> str | None:
        """The user's name when this `Authorization` is right; None when it isn't, which is remembered of the address."""
        user, password = _basic(header)
        if hmac.compare_digest(_digest(password), self._digest) and user is not None:
            self._wrong.pop(_place(address), None)
            return user
        if header:
            self._remember(_place(address))
        return None

    def _remember(self, place: str) -> None:
        now = self._clock()
        count, at = self._wrong.pop(place, (0, now))
        self._wrong[place] = (count + 1 if now - at < FORGET else 1), now
        while len(self._wrong) > MOST:
            self._wrong.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _basic(header: str) -> tuple[str | None, str]:
    scheme, _, credentials = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            return None, ""
        user, colon, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None, ""
    return ("".join(filter(str.isprintable, user[:64])) if colon else None), password


def _place(address: str) -> str:
    """The address itself, also one of IPv4 that IPv6 has wrapped; of IPv6 the network of 64 bits, all of which is one house's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
