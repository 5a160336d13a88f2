"""The text of a systemd unit (systemd.service(5), systemd.exec(5)). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["worker", "drain", "dashboard", "exporter"]

DESCRIPTIONS: dict[Kind, str] = {
    "worker": "spoolq: runs jobs",
    "drain": "spoolq: moves this host's spool into Redis",
    "dashboard": "spoolq: dashboard",
    "exporter": "spoolq: metrics for Prometheus",
}
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 (where PrivateTmp would hide what is there)
_HOMES = ("/home", "/root", "/run/user")
_PLAIN = re.compile(r"[A-Za-z0-9_@:,./=+*-]+")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one is made from.

    command     the program and its arguments, as run from `folder`
    stop        seconds that it may take to end
    uses        files and directories that it reads: programs, the application, sockets
    writes      directories that it writes to beside /var/lib/spoolq
    notes       lines for who reads it
    """

    kind: Kind
    command: Sequence[str]
    folder: Path
    user: str
    environment: str
    stop: int
    uses: Sequence[Path] = ()
    writes: Sequence[Path] = ()
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The file's name in /etc/systemd/system."""
        return f"spoolq-{self.kind}.service"

    def text(self) -> str:
        """The file."""
        lines = [
            f"# /etc/systemd/system/{self.name}",
            *(f"# {note}" for note in self.notes),
            "[Unit]",
            f"Description={DESCRIPTIONS[self.kind]}",
            "After=network.target",
            "# It is started again and again, for as long as it takes",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=notify",
            f"ExecStart={' '.join(map(quoted, self.command))}",
            "ExecReload=/bin/kill -HUP $MAINPID",
            f"WorkingDirectory={specifiers(str(self.folder))}",
            f"User={self.user}",
            "# SPOOLQ_URL and other settings, secrets among them: NAME=value lines, mode 0600",
            f"EnvironmentFile=-{specifiers(self.environment)}",
            "StateDirectory=spoolq",
            "StateDirectoryMode=0700",
            "UMask=0077",
            "",
            "# The main loop feeds the watchdog: in a long job and in an outage too",
            "WatchdogSec=30",
            "Restart=on-failure",
            "RestartSec=5",
            "# Wrong usage and bad settings: another start would end as this one did",
            "RestartPreventExitStatus=2 78",
            "KillMode=mixed",
            f"TimeoutStopSec={self.stop}",
            *self._memory(),
            "",
            *self._hardening(),
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ]
        return "\n".join(lines) + "\n"

    def _memory(self) -> list[str]:
        if self.kind != "worker":
            return []
        return [
            "# A job's process that the kernel ends for its memory is replaced: no reason to end the others",
            "OOMPolicy=continue",
        ]

    def _hardening(self) -> list[str]:
        """As much as what it does allows: jobs may do anything that their user may, the others only spoolq's own."""
        places = [self.folder, *self.uses, *self.writes]
        jobs = self.kind == "worker"
        lines = [
            "NoNewPrivileges=yes",
            f"ProtectSystem={'full' if jobs else 'strict'}",
            *([] if jobs else [f"ReadWritePaths=-{_path(each)}" for each in self.writes]),
            f"ProtectHome={('no' if jobs else 'read-only') if _any(places, _HOMES) else 'yes'}",
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectControlGroups=yes",
            "RestrictSUIDSGID=yes",
            "RestrictRealtime=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
        ]
        if _any(places, _TEMPORARY):
            lines.append("# No PrivateTmp=yes: what it uses lies in a temporary directory")
        else:
            lines.append("PrivateTmp=yes")
        if not jobs:
            lines += [
                "PrivateDevices=yes",
                "RestrictNamespaces=yes",
                "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
            ]
            lines.append("CapabilityBoundingSet=")
        return lines


def quoted(word: str) -> str:
    """One word of a command line. Raises ValueError for one that no unit can hold."""
    if not word.isprintable():
        raise ValueError(word)
    word = specifiers(word).replace("$", "$$")
    if _PLAIN.fullmatch(word.replace("%%", "").replace("$$", "") or "_"):
        return word or '""'
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def specifiers(text: str) -> str:
    """With what systemd would replace (`%h`) kept as it is."""
    return text.replace("%", "%%")


def _path(path: Path) -> str:
    return quoted(str(path)).replace("$$", "$")


def _any(places: Sequence[Path], roots: Sequence[str]) -> bool:
    return any(place.is_relative_to(root) for place in places for root in roots)
