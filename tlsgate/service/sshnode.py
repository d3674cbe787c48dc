"""All that an agent does for the sshd of its machine, in one piece.

1. `public_key` goes along when the agent joins and renews; `keep` takes what comes back.
2. From `start` on the authorities and the logins follow the cluster's state, and logins by
   its certificates are told to the audit trail.
3. `refresh`: the node's labels are others.

`tgctl sshd install` has sshd read these files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.cluster.view import ClusterView
from tlsgate.core.sshdlines import digest_of
from tlsgate.errors import BadBytes
from tlsgate.service.principals import Principals
from tlsgate.service.sshfiles import MACHINE_KEY, SshFiles
from tlsgate.service.sshlog import Journal, LogFile, Logins

#: From this version on sshd reads a time with a Z, see `principals`.
_ENDS_SINCE: Final = (9, 1)
#: Until what could not be written is tried again.
_AGAIN_SECONDS: Final = 5.0
_VERSION = re.compile(r"OpenSSH_(\d{1,3})\.(\d{1,3})")
_PROGRAM: Final = "/usr/bin/ssh"


class NoSsh:
    """What stands for it where an agent has databases and applications only."""

    is_certified = True
    is_following = True

    def public_key(self) -> str:
        """There is no key to be certified."""
        return ""

    def keep(self, certificate: str | None) -> None:
        """There is no sshd to show one."""

    def start(self) -> None:
        """There is nothing to follow."""

    stop = start
    refresh = start


class SshNode:
    """See the module.

    Args:
        folder: DATA/agent/ssh.
        view: of the cluster; its door takes what is told.
        labels: of the node, now.
        reactor: for timers and processes.
        name: of the agent; it may be set until `start`.
        log: where sshd logs: "journal", "none", or a file's path.
        now: seconds since the epoch.
        machine_key: see `SshFiles`.
    """

    log = Logger()

    def __init__(
        self,
        folder: Path,
        view: ClusterView,
        labels: Callable[[], Mapping[str, str]],
        reactor: Any,
        *,
        name: str,
        log: str = "journal",
        now: Callable[[], float] = time.time,
        machine_key: Path = MACHINE_KEY,
    ) -> None:
        self.name = name
        self.files = SshFiles(folder, machine_key)
        self.principals = Principals(
            self.files.principals, view, labels, reactor, name=name, now=now, ends=False
        )
        self._view = view
        self._reactor = reactor
        self._logins = Logins(view.door.ask, self._ours, reactor)
        self._source: Journal | LogFile | None = None
        if log == "journal":
            self._source = Journal(reactor, self._logins.take)
        elif log != "none":
            self._source = LogFile(Path(log), self._logins.take, reactor, now)
        self._started = False
        #: The authorities' lines that were written, and their digests.
        self._cas: tuple[str, ...] = ()
        self._digests: frozenset[str] = frozenset()
        self._again: IDelayedCall | None = None
        view.on_change(self._changed)

    def public_key(self) -> str:
        """The host key's public half, see `SshFiles.public_key`."""
        return self.files.public_key()

    @property
    def is_certified(self) -> bool:
        """Whether there is a certificate for the host key; else the agent renews at once."""
        return self.files.is_certified

    @property
    def is_following(self) -> bool:
        """Whether the authorities that the cluster trusts are those that sshd reads."""
        state = self._view.state
        lines = () if state is None else state.authorities.get("ssh_user", ())
        return not self._started or not lines or lines == self._cas

    def keep(self, certificate: str | None) -> None:
        """Keep the host key's certificate, see `SshFiles.keep`."""
        if self.files.keep(certificate, ()):
            self.log.info("there is a host certificate for sshd to show")

    def start(self) -> None:
        """Follow the cluster."""
        if self._started:
            return
        self._started = True
        self.principals.name = self.name
        self._follow()
        self.principals.start()
        if self._source is not None:
            self._source.start()
        asked: Deferred[Any] = ensureDeferred(self._version())
        asked.addErrback(self._no_version)

    def stop(self) -> None:
        """Leave everything as it is."""
        if self._started:
            self._started = False
            self.principals.stop()
            self._logins.stop()
            if self._again is not None:
                self._again.cancel()
                self._again = None
            if self._source is not None:
                self._source.stop()

    def refresh(self) -> None:
        """Take up the node's labels."""
        self.principals.refresh()

    # -- what changes --

    def _changed(self, what: frozenset[str]) -> None:
        if self._started and "cert_authority" in what:
            self._follow()

    def _follow(self) -> None:
        """Trust the authorities that the cluster trusts."""
        state = self._view.state
        lines = () if state is None else state.authorities.get("ssh_user", ())
        if not lines or lines == self._cas:
            return
        try:
            self.files.keep(None, lines)
            self._digests = frozenset(map(digest_of, lines))
            self._cas = lines
        except (OSError, BadBytes) as error:
            self.log.error("sshd's authorities cannot be written: {why}", why=str(error))
            if self._again is None:
                self._again = self._reactor.callLater(_AGAIN_SECONDS, self._follow_again)

    def _follow_again(self) -> None:
        self._again = None
        self._follow()

    def _ours(self) -> frozenset[str]:
        return self._digests

    # -- sshd's version --

    async def _version(self) -> None:
        """Have lines end by themselves if this machine's OpenSSH understands that."""
        out, err, _ = await getProcessOutputAndValue(_PROGRAM, ("-V",), reactor=self._reactor)
        found = _VERSION.search((out + err)[:1024].decode("ascii", "replace"))
        if found is not None and (int(found[1]), int(found[2])) >= _ENDS_SINCE:
            self.principals.ends = True
            self.principals.refresh()

    def _no_version(self, failure: Failure) -> None:
        self.log.info("OpenSSH's version is not known: {why}", why=failure.getErrorMessage())
