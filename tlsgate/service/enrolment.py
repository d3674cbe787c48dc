"""An agent's place in its cluster: who it is, what it knows, and the word that it is there.

1. `start` joins, or takes what DATA/agent has; no token is needed again.
2. It watches the auth service end to end, through the gateway, with its own certificate; what
   it hears is kept, so that an agent that starts without the auth service serves too.
3. At two thirds of its certificate's life, or when an authority changes, it gets the next one.
4. Each minute, and on each change of what it offers, it tells the auth service.

More than 400 lines: joining, renewal and heartbeats share their timers and their end.

One file, though a long one: joining, renewing and heartbeats share one identity and one clock.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

import tlsgate
from tlsgate.cluster.hostfiles import Joined
from tlsgate.cluster.joining import Joining
from tlsgate.cluster.view import ClusterView
from tlsgate.core.offers import Offer
from tlsgate.errors import GateError, Unreachable
from tlsgate.tls.peer import load_cas
from tlsgate.tls.secretfile import replace_secret

#: How long a start waits for the auth service, where nothing is kept.
FIRST_WORD_SECONDS: Final = 10.0
#: Between two tries to renew the certificate.
_AGAIN_SECONDS: Final = 30.0
#: After a renewal that something has overtaken.
_MEANWHILE_SECONDS: Final = 1.0
#: Between two heartbeats where the auth service has not said it, and after one that failed.
_BEAT_SECONDS: Final = 60.0
_BEAT_AGAIN_SECONDS: Final = 5.0
#: A change of what is offered is told after so long, together with those that follow it.
_SOON_SECONDS: Final = 0.2

#: Of what the auth service says of gateways: one address, and how many.
_ADDRESS: Final = 256
_GATEWAYS: Final = 64

_STATE: Final = "state.json"


class Ssh(Protocol):
    """What is needed of `service.sshnode.SshNode`."""

    @property
    def is_certified(self) -> bool:
        """Whether sshd's host key has a certificate."""

    @property
    def is_following(self) -> bool:
        """Whether sshd trusts the authorities that the cluster does."""

    def public_key(self) -> str:
        """The key, as a line; "" where the agent is none of a node."""

    def keep(self, certificate: str | None) -> None:
        """Take its certificate."""


class Enrolment:
    """See the module.

    Args:
        joining, view: made for each other.
        ssh: what the host's own sshd shows.
        folder: DATA/agent.
        reactor: for its clock.
        renewed: called when there is another certificate, or authority.
        relabelled: called when `labels` are others, in what runs.
        told_of: called with the gateways that the auth service knows.
        now: seconds since the epoch.
        offers: what is offered now.
        hostname: of the machine.
    """

    log = Logger()

    def __init__(
        self,
        joining: Joining,
        view: ClusterView,
        ssh: Ssh,
        folder: Path,
        reactor: Any,
        *,
        renewed: Callable[[], None],
        relabelled: Callable[[], None],
        told_of: Callable[[Sequence[str]], None],
        offers: Callable[[], Sequence[Offer]],
        hostname: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.view = view
        #: Those of the token by which the agent has joined; they win over its own.
        self.labels: Mapping[str, str] = {}
        self._joining = joining
        self._ssh = ssh
        self._folder = folder
        self._reactor = reactor
        self._renewed = renewed
        self._relabelled = relabelled
        self._told_of = told_of
        self._offers = offers
        self._hostname = hostname
        self._now = now
        self._joined: Joined | None = None
        self._calls: dict[str, IDelayedCall] = {}
        self._busy: set[str] = set()
        self._waiting: Deferred[None] | None = None
        self._signing = ""
        self._followed: Mapping[str, int] = {}
        #: What the last heartbeat said of it.
        self._told_followed: Mapping[str, int] = {}
        self._beat_failed = False
        self._stopped = False

    @property
    def joined(self) -> Joined:
        """Who the agent is; only after `start`."""
        assert self._joined is not None
        return self._joined

    async def start(self) -> None:
        """Join, and learn what there is to know.

        Raises:
            NotJoined: somebody has to do something, and the sentence says what.
            Unreachable: it has never joined, and nobody answers.
            Untrusted: somebody else answers.
        """
        self._joining.more_keys = self._ssh_key
        self._joining.issued = self._take_issued
        joined = self._joined = await self._joining.enter()
        self.view.name = joined.cluster
        self._joining.authorities = self._host_authorities
        kept = self._restore()
        self.view.on_change(self._changed)
        self.view.start()
        if not kept:
            await self._first_word()
        if self._ssh.is_certified:
            self._soon("renew", joined.renew_at - self._now(), self._begin_renewal)
        else:  # the machine has another key than the one that was certified
            self._soon("renew", _SOON_SECONDS, self._again(True))
        self.beat()

    def linger(self) -> None:
        """Renew and tell nothing more; what is heard still counts for who is served."""
        if not self._stopped:
            self._stopped = True
            if self._joined is not None:
                self._keep()
            for call in self._calls.values():
                call.cancel()
            self._calls.clear()
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                waiting.callback(None)

    def stop(self) -> None:
        """Follow the cluster no more."""
        self.linger()
        self.view.stop()

    def told(self) -> dict[str, Any]:
        """What is known of the cluster, and how old it is, in JSON types."""
        age = self.view.stale_seconds
        return {
            "name": self.view.name,
            "away": self.view.away,
            "age_seconds": None if math.isinf(age) else age,
            "limit_seconds": self.view.stale_limit_seconds,
            "strict": self.view.state is not None and self.view.state.strict_locks,
        }

    def followed(self) -> Mapping[str, int]:
        """Which revision of each authority is in force here: trusted, and shown."""
        if self.view.state is not None and not self._differs() and self._ssh.is_following:
            self._followed = dict(self.view.revisions)
        return self._followed

    def _tell_followed(self) -> None:
        """An operator may wait for it; but agents that all come back at once have the minute."""
        if self.followed() != self._told_followed:
            self.beat()

    def beat(self) -> None:
        """Tell the auth service soon what is offered."""
        if self._joined is not None:
            self._soon("beat", _SOON_SECONDS, self._begin_beat)

    # -- timers --

    def _soon(self, which: str, seconds: float, call: Callable[[], None]) -> None:
        if self._stopped:
            return
        before = self._calls.pop(which, None)
        if before is not None:
            before.cancel()

        def due() -> None:
            del self._calls[which]
            call()

        self._calls[which] = self._reactor.callLater(max(0.0, seconds), due)

    # -- what is known --

    async def _first_word(self) -> None:
        if self.view.state is not None:
            return
        waiting = self._waiting = Deferred()

        def late() -> None:
            self._waiting = None
            if not waiting.called:
                waiting.callback(None)

        self._soon("first", FIRST_WORD_SECONDS, late)
        await waiting
        heard: object = self.view.state  # it may have come meanwhile
        if heard is None and not self._stopped:
            # Everybody is refused until it is heard; the tunnels may be there before.
            self.log.warn("the auth service is not heard yet")  # noqa: G010 -- Twisted's name

    def _changed(self, what: frozenset[str]) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            call = self._calls.pop("first", None)
            if call is not None:
                call.cancel()
            waiting.callback(None)
        if self._stopped:
            return
        if "cert_authority" in what:
            self._take_authorities()
            self._tell_followed()
        # Of many changes at once the last is kept.
        self._soon("keep", 1.0, self._keep)

    def _take_authorities(self) -> None:
        """Another host authority is trusted, or another key of one signs: follow it."""
        if not self._signing:
            self._signing = self.view.signing
        if self._differs():
            self._soon("renew", 0.0, self._begin_renewal)

    def _differs(self) -> bool:
        """Whether what is shown and kept is not what the cluster says now."""
        return self.view.signing != self._signing or (
            set(load_cas(self._host_authorities())) != set(self.joined.cas)
        )

    def _host_authorities(self) -> Sequence[str]:
        state = self.view.state
        return () if state is None else state.authorities["host"]

    def _restore(self) -> bool:
        """Take what an earlier process has kept; False where there is nothing."""
        try:
            kept = json.loads((self._folder / _STATE).read_text())
            age = self._now() - float(kept["heard"])
            self.view.restore(kept["snapshot"], max(0.0, age))
            self._signing = str(kept["signing"])
            self.labels = self.labels or _labels(kept) or {}
        except (OSError, ValueError, KeyError, TypeError, GateError):
            return False
        return True

    def _keep(self) -> None:
        """Write what is known, for a start without the auth service."""
        if self.view.state is None:
            return
        kept = {
            "heard": self._now() - min(self.view.stale_seconds, self._now()),
            "signing": self._signing,
            "labels": dict(self.labels),
            "snapshot": self.view.snapshot,
        }
        try:
            replace_secret(self._folder / _STATE, json.dumps(kept).encode())
        except OSError as error:
            self.log.error("what is known of the cluster cannot be kept: {error}", error=error)

    # -- the certificate --

    def _ssh_key(self) -> Mapping[str, str]:
        try:
            key = self._ssh.public_key()
            return {"ssh_public_key": key} if key else {}
        except (GateError, OSError) as error:
            # Who reaches this host by other ways need not know; the tunnel works without.
            self.log.error("there is no host key for sshd: {why}", why=str(error))
            return {}

    def _take_issued(self, answer: Mapping[str, Any]) -> None:
        self._take_ssh(answer)
        self._take_labels(answer)

    def _take_labels(self, answer: Any) -> None:
        labels = _labels(answer)
        if labels is not None and labels != self.labels:
            self.labels = labels
            if self._joined is not None:  # else nothing runs yet that has others
                self._soon("keep", 1.0, self._keep)
                self._relabelled()

    def _take_ssh(self, answer: Mapping[str, Any]) -> None:
        try:
            self._ssh.keep(answer.get("ssh_certificate"))
        except (GateError, OSError, AttributeError, TypeError) as error:
            self.log.error("what sshd shows cannot be kept: {why}", why=str(error))

    def _begin_renewal(self, *, at_once: bool = False) -> None:
        self._run("renewal", lambda: self._renewal(at_once))

    async def _renewal(self, at_once: bool) -> None:
        before, signing = self.joined, self.view.signing
        at_once = at_once or (bool(self._signing) and signing != self._signing)
        try:
            due = await self._joining.renew(self.view.door, at_once=at_once)
        except (GateError, OSError) as error:
            self.log.error("the agent's certificate is not renewed yet: {why}", why=str(error))
            again = self._again(at_once)
            self._soon("renew", _AGAIN_SECONDS, again)
            return
        found = await self._joining.enter()
        if found is not before:
            self._joined = found
            self.log.info("the agent has a new certificate")
            if not self._stopped:
                self._renewed()
        if signing:  # only now: an agent that ends before has it to do still
            self._signing = signing
        # What has changed meanwhile has met a renewal that was under way.
        wait = _MEANWHILE_SECONDS if self._differs() else max(due - self._now(), 1.0)
        self._soon("renew", wait, self._begin_renewal)
        self._tell_followed()

    def _again(self, at_once: bool) -> Callable[[], None]:
        return lambda: self._begin_renewal(at_once=at_once)

    # -- heartbeats --

    def _begin_beat(self) -> None:
        if "heartbeat" in self._busy:  # what it says was another thing
            self._soon("beat", _SOON_SECONDS, self._begin_beat)
            return
        self._run("heartbeat", self._beat)

    async def _beat(self) -> None:
        body: dict[str, Any] = {
            "version": tlsgate.__version__,
            "hostname": self._hostname,
            "offers": [one.told() for one in self._offers()],
            "sshd": {"certified": self._ssh.is_certified},
            "authorities": dict(self.followed()),
        }
        self._told_followed = body["authorities"]
        seconds = _BEAT_AGAIN_SECONDS
        try:
            status, said = await self.view.door.ask("POST", "/v1/agent/heartbeat", body)
            if status != 200:
                raise Unreachable("the auth service", _refusal(status, said))
            seconds = _seconds(said)
            self._beat_failed = False
            self._take_labels(said)
            self._told_of(_gateways(said))
        except GateError as error:
            if not self._beat_failed:
                self._beat_failed = True
                self.log.warn(  # noqa: G010 -- Twisted's name
                    "the auth service does not take the heartbeat: {why}; trying on",
                    why=str(error),
                )
        if "beat" not in self._calls:
            self._soon("beat", seconds, self._begin_beat)

    def _run(self, what: str, make: Callable[[], Any]) -> None:
        """Do one thing at a time of each kind; a bug in it does not end what comes later."""
        if what in self._busy or self._stopped:
            return
        self._busy.add(what)

        def done(result: object) -> None:
            self._busy.discard(what)
            if isinstance(result, Failure):
                self.log.failure(what, failure=result)
                retry = self._begin_beat if what == "heartbeat" else self._begin_renewal
                self._soon("beat" if what == "heartbeat" else "renew", _AGAIN_SECONDS, retry)

        Deferred.fromCoroutine(make()).addBoth(done)


def _labels(answer: Any) -> Mapping[str, str] | None:
    """The labels in what the auth service says; None: one of an older version tells of none."""
    told = answer.get("labels") if isinstance(answer, Mapping) else None
    if not isinstance(told, Mapping):
        return None
    words = all(isinstance(word, str) for pair in told.items() for word in pair)
    return dict(told) if words else None


def _gateways(said: Any) -> Sequence[str]:
    """Where gateways are; one of an older version does not say it."""
    told = said.get("gateways") if isinstance(said, Mapping) else None
    found = told if isinstance(told, list) else ()
    return [one for one in found if isinstance(one, str) and 0 < len(one) <= _ADDRESS][:_GATEWAYS]


def _seconds(said: Any) -> float:
    """When the next heartbeat is due, as the auth service has said."""
    try:
        return min(max(float(said["next_seconds"]), 1.0), 600.0)
    except (KeyError, TypeError, ValueError):
        return _BEAT_SECONDS


def _refusal(status: int, body: Any) -> str:
    try:
        return str(body["error"]["message"])[:1024]
    except (KeyError, TypeError):
        return f"it answers with status {status}"
