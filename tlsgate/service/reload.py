"""What a reload reads, what it may not change, and which files are worth a look."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from attrs import evolve, frozen

from tlsgate.config import read
from tlsgate.config.endpoints import can_be_inherited
from tlsgate.config.settings import Settings
from tlsgate.errors import BadSettings, GateError, Place, Problem

#: Keys that only a new process can change, and where the file has them.
FIXED = (
    ("data_dir", "teleport.data_dir"),
    ("cluster_name", "auth_service.cluster_name"),
    ("workers", "proxy_service.workers"),
    ("auth_enabled", "auth_service.enabled"),
    ("joins", "teleport.auth_servers"),
    ("is_agent", "ssh_service.enabled"),
)

#: Without these there is no auth service; they are the `auth` extra.
AUTH_PACKAGES = ("argon2", "pyotp")


@frozen
class Source:
    """Where the settings come from.

    Attributes:
        file: the configuration file, with its whole path.
        data_dir: from the command line; takes the place of the file's.
    """

    file: Path
    data_dir: Path | None = None

    def load(self) -> tuple[str, Settings]:
        """Read the file: its text, and what it means.

        Raises:
            BadSettings: it cannot be used; with every problem.
        """
        try:
            text = self.file.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            # The reader says the same with a place; should it succeed, the file has
            # changed in this very moment, and then its text is read again.
            read.read_file(self.file, data_dir=self.data_dir)
            text = self.file.read_bytes().decode("utf-8-sig")
        return text, self.parse(text)

    def parse(self, text: str) -> Settings:
        """What *text*, which this file had, means.

        Raises:
            BadSettings: it cannot be used; with every problem.
        """
        settings = read.read_text(text, str(self.file), data_dir=self.data_dir)
        if problems := _not_inherited(settings):
            raise BadSettings(problems)
        return _with_what_is_installed(settings)


def _with_what_is_installed(settings: Settings) -> Settings:
    """*settings*, without an auth service that nobody asked for and that cannot run.

    Raises:
        BadSettings: the file asks for it.
    """
    if not settings.auth_enabled or all(map(find_spec, AUTH_PACKAGES)):
        return settings
    path = "auth_service"
    lacks = "needs packages that are not installed: pip install 'tlsgate[auth]'"
    if settings.auth_written:
        raise BadSettings([Problem(settings.place(path), path, lacks)])
    note = f"is off: it {lacks}, or write enabled: no"
    warning = Problem(Place(str(settings.file), 1, 1), path, note)
    return evolve(settings, auth_enabled=False, warnings=(*settings.warnings, warning))


def _not_inherited(settings: Settings) -> list[Problem]:
    """Ports that give no listening descriptor where one is needed."""
    place = Place(str(settings.file), 1, 1)
    problems = []
    if settings.diag is not None and not can_be_inherited(settings.diag):
        problems.append(Problem(place, "teleport.diag_addr", "use a tcp, unix or systemd endpoint"))
    if settings.workers > 1:
        problems += [
            Problem(
                place,
                f"proxy_service listener {listener.name}",
                f"{listener.written} gives no listening descriptor that {settings.workers} workers "
                "could share; use a tcp, unix or systemd endpoint, or workers: 1",
            )
            for listener in settings.listeners
            if not can_be_inherited(listener.endpoint)
        ]
    return problems


def in_short(error: GateError) -> str:
    """One line for the log: of several problems the first, and where to see them all."""
    first, *rest = str(error).splitlines() or [""]
    return f"{first} (and {len(rest)} more; see tgctl check)" if rest else first


def unchangeable(old: Settings, new: Settings) -> list[str]:
    """Sentences about keys that differ and only count from a new start on."""
    return [
        f"{key} cannot change while the daemon runs (from {getattr(old, name)} to "
        f"{getattr(new, name)}); restart it"
        for name, key in FIXED
        if getattr(old, name) != getattr(new, name)
    ]


class FileWatch:
    """Notices when files that settings name have changed.

    Looks at times, sizes and identities, so a file that was replaced by renaming counts,
    and one that appears or goes.
    """

    def __init__(self, settings: Settings) -> None:
        self._files = tuple(sorted(watched_files(settings)))
        self._seen = self._look()

    def changed(self) -> bool:
        """True when a file differs from what it was at the last call, or at the start."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_identity, self._files))


def watched_files(settings: Settings) -> Iterable[str]:
    """Certificates, keys and authorities."""
    files = set(settings.client_ca_files)
    for pair in settings.keypairs:
        files |= {str(pair.cert_file), str(pair.key_file)}
    for route in settings.routes:
        files.update(route.client_ca_files)
    return files


def _identity(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
