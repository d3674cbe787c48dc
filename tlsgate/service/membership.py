"""A gateway's membership in its cluster: what it trusts, what it shows, whom it cuts off.

1. `start` watches the auth service and waits for its first word; where none comes, what an
   earlier process has kept below DATA/gateway is taken.
2. The authorities' certificates are written there for the TLS contexts, and a certificate
   of the host authority is fetched for the gateway's names, with a key made here.
3. When an authority changes, be it only which of its keys signs, or two thirds of that
   certificate's life are over, both are done anew, and the gate is built again from the same
   settings. What changes meanwhile is taken up right after.
4. When a lock comes, the connections that it is on end within the same turn of the reactor.

More than 400 lines: what is kept, trusted, shown and cut off changes in one order, told here.

One file, though a long one: what is kept, shown and renewed has to change together.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.cluster.joining import Joining
from tlsgate.cluster.view import ALL, ClusterView
from tlsgate.config.settings import KeyPair, Settings
from tlsgate.core.access import Identity
from tlsgate.errors import GateError, Unreachable
from tlsgate.net.gate import Trust
from tlsgate.service.jumpkey import JumpKey
from tlsgate.tls.keypair import load_pair
from tlsgate.tls.secretfile import replace_secret

#: How long a start waits for the auth service.
FIRST_WORD_SECONDS: Final = 10.0
#: Between two tries to fetch a certificate.
_AGAIN_SECONDS: Final = 30.0
#: Of users so many may change at once that each is not worth a file.
_KEEP_SECONDS: Final = 1.0
#: From which part of its life on a certificate is renewed.
_RENEW_AT: Final = 2 / 3

_STATE = "state.json"


class Membership:
    """See the module.

    Args:
        view: of the cluster.
        folder: DATA/gateway, or a worker's own folder below it; made with mode 0700.
        reactor: for its clock.
        in_thread: see `service.local.InThread`.
        now: seconds since the epoch.
        auth_target: where the TLS of the auth service's own protocols goes untouched; None:
            it is in this process.
        joining: how a gateway whose auth service is elsewhere becomes a member; None: the
            auth service is of this daemon, and knows it.
        jump_key: what SSH clients are shown; None: there is no jump host.
    """

    log = Logger()

    def __init__(
        self,
        view: ClusterView,
        folder: Path,
        reactor: Any,
        in_thread: Callable[..., Deferred[Any]],
        now: Callable[[], float] = time.time,
        *,
        auth_target: str | None = None,
        joining: Joining | None = None,
        jump_key: JumpKey | None = None,
    ) -> None:
        self.view = view
        self._joining, self._jump_key = joining, jump_key
        #: What clients of a gateway elsewhere are told, "host:port" each.
        self.public: Sequence[str] = ()
        self.trust: Trust | None = None
        self.folder = folder
        self._reactor, self._now = reactor, now
        self._in_thread = in_thread
        self._auth_target = auth_target
        self._names: tuple[str, ...] = ()
        self._own_names: tuple[str, ...] = ()
        self._renew: Callable[[], Awaitable[None]] | None = None
        self._cut: Callable[[Callable[[Identity], bool]], None] = lambda _: None
        self._due: IDelayedCall | None = None
        self._renew_at = 0.0
        self._renewing = False
        #: The keys that were to sign what is shown, see `ClusterView.signing`; "": not known.
        self._signing = ""
        self._waiting: Deferred[None] | None = None
        self._late: IDelayedCall | None = None
        self._keeping: IDelayedCall | None = None
        self._stopped = False
        self._followed: Mapping[str, int] = {}
        #: Called when `followed` may say something else.
        self.on_followed: Callable[[], None] = lambda: None
        #: Names beside those of `start`, asked for whenever a certificate is fetched.
        self.more_names: Callable[[], Sequence[str]] = tuple
        view.on_change(self._changed)

    async def start(
        self,
        names: Sequence[str],
        renew: Callable[[], Awaitable[None]],
        cut: Callable[[Callable[[Identity], bool]], None],
    ) -> None:
        """Learn what is trusted, and get something to show.

        Args:
            names: for which the cluster's certificate is shown.
            renew: builds the gate anew with `trust`; may raise a `GateError`.
            cut: ends the connections of whom a function is true.

        Raises:
            Unreachable: the auth service says nothing, and nothing is kept.
        """
        self._renew, self._cut = renew, cut
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._joining is not None:
            joined = await self._joining.enter()
            self.view.name = joined.cluster
            self._own_names = (f"{joined.name}.gateway.{joined.cluster}",)
            self._joining.authorities = self._host_authorities
        self._names = (*names, *self._own_names)
        kept = self._restore()
        self.view.start()
        if not kept:
            await self._first_word()
            await self._take_up()
        self._plan()
        self.on_followed()

    async def follow(self, names: Sequence[str]) -> None:
        """Show a certificate for *names* from now on; before a gate for them is built.

        Raises:
            Unreachable: the auth service does not answer.
        """
        if set(names) - set(self._names):
            before, self._names = self._names, (*names, *self._own_names)
            try:
                await self._take_up()
            except BaseException:
                self._names = before  # or the next try would take them for had
                raise
            self._plan()

    def refresh(self) -> None:
        """Fetch another certificate soon: `more_names` has changed."""
        if self.trust is not None and not self._stopped:
            self._soon(0.0)

    def linger(self) -> None:
        """Renew and keep nothing more; locks still end connections that drain."""
        if not self._stopped:
            self._keep()  # how old it is counts at the next start
        self._stopped = True
        if self._late is not None and self._late.active():
            self._late.cancel()  # nobody waits any more
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def stop(self) -> None:
        """Follow the cluster no more."""
        self.linger()
        self.view.stop()

    # -- what is known --

    async def _first_word(self) -> None:
        if self.view.state is not None:
            return
        self._waiting = Deferred()
        late = self._reactor.callLater(FIRST_WORD_SECONDS, self._waiting.callback, None)
        self._late = late
        await self._waiting
        self._waiting = self._late = None
        if late.active():
            late.cancel()
        if self.view.state is None:
            raise Unreachable(
                "the auth service", f"it has said nothing for {FIRST_WORD_SECONDS:g} s"
            )

    def _changed(self, what: frozenset[str]) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.called:
            self._waiting = None
            waiting.callback(None)
        if {"lock", "role", "user"} & what:
            self._cut(lambda identity: self.view.lock_on(identity) is not None)
        if self._renew is None or self._stopped:
            return
        if self.trust is not None and "cert_authority" in what:
            self.on_followed()
        if self.trust is not None and "cert_authority" in what and self._differs():
            self._soon(0.0)
        elif what == ALL or "lock" in what or "role" in what:
            self._keep()
        elif "user" in what and self._keeping is None:
            self._keeping = self._reactor.callLater(_KEEP_SECONDS, self._keep)

    def _differs(self) -> bool:
        """Whether what is trusted, or signs, is not what was taken up last."""
        state = self.view.state
        assert state is not None
        return self.view.signing != self._signing or any(
            not path.exists() or path.read_text() != "".join(state.authorities[kind])
            for kind, path in self._ca_paths().items()
        )

    def _host_authorities(self) -> Sequence[str]:
        state = self.view.state
        return () if state is None else state.authorities["host"]

    def followed(self) -> Mapping[str, int]:
        """Which revision of each authority is in force here: trusted, and shown."""
        if self.trust is not None and not self._renewing and not self._differs():
            self._followed = dict(self.view.revisions)
        return self._followed

    def named(self, settings: Settings) -> Settings:
        """*settings* with the name that the cluster has."""
        if settings.cluster_name == self.view.name:
            return settings
        return evolve(settings, cluster_name=self.view.name)

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

    # -- files --

    def _ca_paths(self) -> Mapping[str, Path]:
        return {kind: self.folder / f"{kind}.pem" for kind in ("user", "host")}

    def _pair(self) -> KeyPair:
        # One file for both: a kill between two would leave a key and another one's certificate.
        file = self.folder / "cluster.pem"
        return KeyPair(cert_file=file, key_file=file)

    def _restore(self) -> bool:
        """Take what an earlier process has kept; False where it is not all there."""
        pair = self._pair()
        try:
            kept = json.loads((self.folder / _STATE).read_text())
            if set(self._names) - set(kept["names"]):
                return False
            if load_pair(pair).not_after <= self._now():
                return False
            self._renew_at = float(kept["renew_at"])
            self._signing = str(kept.get("signing", ""))
            age = self._now() - float(kept.get("heard", "-inf"))
            self.view.restore(kept["snapshot"], max(0.0, age))
        except (OSError, ValueError, KeyError, TypeError, GateError):
            return False
        paths = self._ca_paths()
        if not all(one.exists() for one in paths.values()):
            return False
        if self._jump_key is not None and not self._jump_key.certified:
            self._renew_at = self._now()  # kept by a version that had no jump host
        self.trust = self._made(paths, pair)
        return True

    def _keep(self) -> None:
        """Write what is known, for a start without the auth service."""
        if self._keeping is not None and self._keeping.active():
            self._keeping.cancel()
        self._keeping = None
        state = self.view.state
        if state is None or self.trust is None:
            return
        kept = {
            "names": list(self._names),
            "renew_at": self._renew_at,
            "signing": self._signing,
            "heard": self._now() - min(self.view.stale_seconds, self._now()),
            "snapshot": self.view.snapshot,
        }
        try:
            replace_secret(self.folder / _STATE, json.dumps(kept).encode())
        except OSError as error:
            self.log.error("what is known of the cluster cannot be kept: {error}", error=error)

    # -- the certificate --

    async def _take_up(self) -> None:
        """Write the authorities, and fetch a certificate.

        Raises:
            GateError: the auth service refuses, or does not answer.
        """
        signing = self.view.signing
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        names = list(dict.fromkeys((*self._names, *self.more_names())))
        asked = {"names": names, "tls_public_key": public.decode()}
        host_due = math.inf
        if self._joining is not None:
            changed = bool(self._signing) and signing != self._signing
            host_due = await self._joining.renew(self.view.door, at_once=changed)
            asked["public"] = list(self.public)
        if self._jump_key is not None:
            asked["ssh_public_key"] = self._jump_key.line()
        status, body = await self.view.door.ask("POST", "/v1/gateway/certificates", asked)
        if status == 400 and "ssh_public_key" in asked:  # an older auth service
            del asked["ssh_public_key"]
            status, body = await self.view.door.ask("POST", "/v1/gateway/certificates", asked)
        if status != 200:
            raise Unreachable("the auth service", _refusal(status, body))
        paths, pair = self._ca_paths(), self._pair()
        state = self.view.state  # not the one before the answer came
        assert state is not None
        for kind, path in paths.items():
            replace_secret(path, "".join(state.authorities[kind]).encode())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace_secret(pair.key_file, private + (body["certificate"] + body["chain"]).encode())
        if self._jump_key is not None:
            self._jump_key.certify(body.get("ssh_certificate"))
        self._signing = signing
        now = self._now()
        due = now + (float(body["not_after"]) - now) * _RENEW_AT
        self._renew_at = min(due, max(host_due, now + _AGAIN_SECONDS))
        self.trust = self._made(paths, pair)
        self._keep()

    def _made(self, paths: Mapping[str, Path], pair: KeyPair) -> Trust:
        return Trust(
            ca_files={kind: str(path) for kind, path in paths.items()},
            keypairs=(pair,),
            auth_target=self._auth_target,
            ssh_host=None if self._jump_key is None else self._jump_key.files(),
        )

    def _plan(self) -> None:
        self._soon(max(0.0, self._renew_at - self._now()))

    def _soon(self, seconds: float) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = self._reactor.callLater(seconds, self._begin_renewal)

    def _begin_renewal(self) -> None:
        self._due = None
        if self._renewing:  # its end looks for what has changed meanwhile
            return
        Deferred.fromCoroutine(self._renewal()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """A bug in a renewal: the next one may go better, and has to come."""
        self.log.failure("the cluster's certificate", failure=failure)
        if not self._stopped:
            self._soon(_AGAIN_SECONDS)

    async def _renewal(self) -> None:
        assert self._renew is not None
        self._renewing = True
        try:
            await self._take_up()
            await self._renew()
        except (GateError, OSError) as error:
            if not self._stopped:
                self.log.error(
                    "the gateway's certificate of the cluster is not renewed yet: {error}",
                    error=str(error),
                )
                self._soon(_AGAIN_SECONDS)
            return
        finally:
            self._renewing = False
        if self._stopped:
            return
        if self._differs():
            self._soon(0.0)
        else:
            self._plan()
            self.on_followed()


def _refusal(status: int, body: Any) -> str:
    """What an answer of the API says, whoever has written it."""
    try:
        return str(body["error"]["message"])[:1024]
    except (KeyError, TypeError):
        return f"it answers with status {status}"
