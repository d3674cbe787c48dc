"""What agents offer, kept for the process that takes this one's place.

1. `begin` reads what an earlier process has kept: its agents are expected back, see
   `tunnel.expected`.
2. `changed`: it is written anew, a moment later, so that many agents make few files.
3. `stop`: from here on agents leave, and what is kept is no more ours to change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tlsgate.core.offers import KINDS, Offer
from tlsgate.errors import BadBytes
from tlsgate.tls.secretfile import replace_secret
from tlsgate.tunnel.agents import Agents

FILE: Final = "offers.json"
#: From a change to the file, and so much more for each offer: a large file is written seldom.
_WRITE_SECONDS, _EACH_SECONDS = 0.5, 0.001
#: A file that is longer is nobody's of ours.
_FILE_BYTES: Final = 64 << 20


class KeptOffers:
    """See the module.

    Args:
        folder: of this gateway or worker.
        agents: whose offers are kept.
        reactor: for its clock.
    """

    log = Logger()

    def __init__(self, folder: Path, agents: Agents, reactor: Any) -> None:
        self._file = folder / FILE
        self._agents = agents
        self._reactor = reactor
        self._due: IDelayedCall | None = None
        self._written: Sequence[Offer] | None = None
        self._stopped = False

    def begin(self) -> None:
        """Expect whom an earlier process had; a file that cannot be read is none."""
        try:
            with self._file.open("rb") as file:
                wire = file.read(_FILE_BYTES + 1)
            offers = [Offer.read(one) for one in json.loads(wire)]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, RecursionError, BadBytes) as error:
            self.log.info("{file} is not used: {why}", file=str(self._file), why=str(error))
            return
        self._agents.expected.expect(offers)

    def changed(self) -> None:
        """Somebody has come or gone, or offers something else."""
        if self._due is None and not self._stopped:
            wait = _WRITE_SECONDS + _EACH_SECONDS * len(self._written or ())
            self._due = self._reactor.callLater(wait, self._write)

    def stop(self) -> None:
        """Write what is still to be written, and nothing more."""
        due, self._due = self._due, None
        if due is not None and not self._stopped:
            due.cancel()
            self._write()
        self._stopped = True

    def _write(self) -> None:
        self._due = None
        offers = [one for kind in KINDS for one in self._agents.offers(kind)]
        if offers == self._written:
            return
        try:
            replace_secret(self._file, json.dumps([one.told() for one in offers]).encode())
        except OSError as error:
            self.log.error("{file}: {why}", file=str(self._file), why=error.strerror)
        else:
            self._written = offers
