"""The gateway's view of its cluster: the last state heard, and how old it is.

1. `start` watches the auth service through a door; the first line is a snapshot.
2. Each later line makes a new `ClusterState`; listeners hear what has changed.
3. A line that cannot be read, or the last one of a watch that the auth service has ended, is
   logged, and the watch begins anew with a snapshot, after growing waits: a gate that has
   missed a lock must not go on as if there were none.
4. `stale_seconds` tells how long nothing was heard: the auth service says at least every
   15 seconds that it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from tlsgate.core import access
from tlsgate.core.access import Decision, Identity
from tlsgate.core.allowed import Allowed
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.locks import Lock
from tlsgate.core.rolevalues import Target
from tlsgate.core.routing import Route
from tlsgate.core.wire.sshcert import SshCertificate
from tlsgate.errors import BadCertificate, GateError, Untrusted
from tlsgate.interfaces import IAuthDoor, IAuthorizer, ICluster, IWatch
from tlsgate.tls.sshtrust import verify_signature

#: What a listener can hear of.
ALL: Final = frozenset(
    {
        *("role", "lock", "user", "cert_authority"),
        *("cluster_networking_config", "cluster_auth_preference", "agent_moves"),
    }
)

#: Between the end of a watch and the next one.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0

#: The auth service says at least every 15 seconds that it is there.
SILENT_SECONDS: Final = 20.0
#: See `ClusterView.stale_limit_seconds`; the configuration has another.
STALE_LIMIT_SECONDS: Final = 300.0

Changed = Callable[[frozenset[str]], None]
Ended = Callable[[str], None]


@implementer(ICluster, IAuthorizer)
class ClusterView:
    """What this gateway knows of its cluster.

    Args:
        name: of the cluster, as the configuration has it.
        door: to the auth service.
        clock: for the age of what is known.
        now: seconds since the epoch.
        mode: what clients are told before anything is heard.

    Attributes:
        state: None until the first snapshot, or `restore`.
        snapshot: the last one, as it was heard.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        door: IAuthDoor,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        mode: str,
    ) -> None:
        self.name = name
        self.door = door
        self.snapshot: Mapping[str, Any] | None = None
        self.state: ClusterState | None = None
        self._allowed = Allowed()
        self._clock = clock
        self._now = now
        #: How old what is known may be where locks are strict.
        self.stale_limit_seconds = STALE_LIMIT_SECONDS
        #: What clients are told where nobody has set a mode in the cluster.
        self.default_mode = mode
        self._heard_at: float | None = None
        #: False: what is known was kept by an earlier process, if anything is.
        self._heard_here = False
        self._watch: IWatch | None = None
        self._again: IDelayedCall | None = None
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._listeners: list[Changed] = []
        self._session_listeners: list[Ended] = []
        #: Roles that cannot be read, which were told of.
        self._told: Mapping[str, str] = {}

    def start(self) -> None:
        """Begin to watch; the first snapshot comes later."""
        self._again = None
        if self._watch is None:
            self._watch = self.door.watch(self._heard)

    def stop(self) -> None:
        """Watch no more; what is known stays."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def on_change(self, listener: Changed) -> None:
        """Call *listener* with the kinds of resources that have changed, after they have."""
        self._listeners.append(listener)

    def on_session_end(self, listener: Ended) -> None:
        """See `ICluster.on_session_end`."""
        self._session_listeners.append(listener)

    def restore(self, snapshot: Mapping[str, Any], age_seconds: float = float("inf")) -> None:
        """Begin with what an earlier process knew, which is so old.

        Raises:
            GateError: it cannot be read, or is of another cluster.
        """
        state = ClusterState.fresh(snapshot)
        if state.cluster != self.name:
            raise Untrusted("what is kept", f"it is of cluster {state.cluster}, not {self.name}")
        self.snapshot = snapshot
        self._heard_at = self._clock.seconds() - age_seconds
        self._take(state, ALL)

    @property
    def api(self) -> Any:
        """See `ICluster.api`."""
        return getattr(self.door, "api", None)

    @property
    def stale_seconds(self) -> float:
        """How long the auth service has been silent; infinite before its first word."""
        if self._heard_at is None:
            return float("inf")
        return self._clock.seconds() - self._heard_at

    @property
    def away(self) -> bool:
        """Whether the auth service is not heard: its door is shut, or it is silent."""
        lost = getattr(self.door, "lost", False) or not self._heard_here
        return lost or self.stale_seconds > SILENT_SECONDS

    @property
    def signing(self) -> str:
        """Which keys sign what hosts show, of TLS and of SSH; "": nothing is known."""
        snapshot = self.snapshot
        if snapshot is None:
            return ""
        said = (snapshot["authorities"].get(kind, {}) for kind in ("host", "ssh_host"))
        return " ".join(str(one.get("spec", one).get("signing", "")) for one in said).strip()

    @property
    def revisions(self) -> Mapping[str, int]:
        """Which revision of each authority is known, by type."""
        said = {} if self.snapshot is None else self.snapshot["authorities"]
        found = {kind: one.get("spec", one).get("revision") for kind, one in said.items()}
        return {kind: one for kind, one in found.items() if isinstance(one, int)}

    @property
    def mode(self) -> str:
        """See `ICluster.mode`."""
        said = None if self.state is None else self.state.mode
        return said or self.default_mode

    @property
    def moves(self) -> object:
        """How agents are to be brought to another way, as JSON; None: nobody has said."""
        return None if self.snapshot is None else self.snapshot.get("moves")

    @property
    def jwks(self) -> Mapping[str, Any]:
        """See `ICluster.jwks`; an auth service of an older version has none."""
        said = {} if self.snapshot is None else self.snapshot["authorities"].get("jwt") or {}
        keys = said.get("spec", said).get("keys", ())
        return {"keys": [key["jwk"] for key in keys if isinstance(key.get("jwk"), Mapping)]}

    @property
    def second_factor(self) -> str | None:
        """What a login asks for beside the password; None: nothing is known."""
        said = {} if self.snapshot is None else self.snapshot.get("auth_preference") or {}
        factor = said.get("spec", {}).get("second_factor")
        return factor if isinstance(factor, str) else None

    @property
    def ping_seconds(self) -> float | None:
        """See `ICluster.ping_seconds`."""
        return None if self.state is None else self.state.ping_seconds

    def decide_target(self, identity: Identity, target: Target, address: str | None) -> Decision:
        """See `ICluster.decide_target`."""
        if self.state is None:
            return Decision(False, "the auth service has not been heard yet")
        if (stale := self._too_stale(identity)) is not None:
            return Decision(False, stale)
        return self._allowed.decide(self.state, identity, target, address, self._now())

    def ssh_identity(self, certificate: SshCertificate) -> Identity:
        """See `ICluster.ssh_identity`."""
        if self.state is None:
            raise BadCertificate("the auth service has not been heard yet")
        identity = self.state.ssh_identity(certificate, self._now())
        try:
            verify_signature(certificate)
        except Untrusted as error:
            raise BadCertificate(error.why) from error
        return identity

    def is_ours(self, identity: Identity) -> bool:
        """See `ICluster.is_ours`."""
        return self.state is not None and self.state.is_ours(identity)

    def lock_on(self, identity: Identity) -> Lock | None:
        """The lock that shuts the holder of a certificate out, or None."""
        return None if self.state is None else self.state.lock_on(identity, self._now())

    def decide(self, route: Route, identity: Identity | None, address: str | None) -> Decision:
        """See `IAuthorizer.decide`; without a state only foreign certificates count."""
        if self.state is not None:
            if (stale := self._too_stale(identity)) is not None:
                return Decision(False, stale)
            return self.state.decide(route, identity, address, self._now())
        if identity is not None and identity.claims is not None:
            return Decision(False, "the auth service has not been heard yet")
        return access.decide(route.allow, identity)

    def _too_stale(self, identity: Identity | None) -> str | None:
        """Why the holder of a certificate of the cluster is not let in on what is known; or None.

        Somebody may have been locked out meanwhile. Where locks are strict, what is known is
        good for so long and no longer (R14).
        """
        limit, state = self.stale_limit_seconds, self.state
        if state is None or identity is None or not state.is_ours(identity):
            return None
        if self.stale_seconds <= limit or not state.strict_for(identity):
            return None
        return (
            f"the auth service has not been heard for more than {limit:g} s, and locks are strict"
        )

    # -- the watch --

    def _heard(self, line: Mapping[str, Any]) -> None:
        kind = line.get("kind")
        try:
            if kind == "snapshot":
                state = ClusterState.fresh(line)
                if state.cluster != self.name:
                    # Nor is anything that it says later: its authorities are not ours.
                    raise Untrusted("it", f"it is of cluster {state.cluster}, not {self.name}")
                self._heard_at = self._clock.seconds()
                self._heard_here = True
                self._wait_seconds = _FIRST_WAIT_SECONDS
                self.snapshot = line
                self._take(state, ALL)
                self._tell_of_sessions(line)
            elif kind == "end":
                self._begin_anew("the auth service has ended the watch: {why}", line.get("message"))
            elif self.state is not None:
                self._heard_at = self._clock.seconds()
                if kind == "event":
                    state = self.state.changed(line)
                    self.snapshot = _with(self.snapshot, line)
                    self._take(state, frozenset({str(line["resource_kind"])}))
                    self._tell_of_sessions(line)
        except GateError as error:
            self._begin_anew("what the auth service says cannot be taken: {why}", error)

    def _tell_of_sessions(self, line: Mapping[str, Any]) -> None:
        """Say which session has ended; "" where any may have: by a lock, or unheard."""
        kind = line.get("resource_kind")
        if kind == "app_session":
            ended = str(line["name"])
        elif line["kind"] == "snapshot" or (kind == "lock" and line["resource"] is not None):
            ended = ""
        else:
            return
        for listener in list(self._session_listeners):
            try:
                listener(ended)
            except Exception:
                self.log.failure("the end of a session was not followed; this is a bug")

    def _begin_anew(self, text: str, why: object) -> None:
        self.log.error(text, why=str(why))
        self.stop()
        self._heard_at = None
        self._again = self._clock.callLater(self._wait_seconds, self.start)
        self._wait_seconds = min(2 * self._wait_seconds, _LONGEST_WAIT_SECONDS)

    def _take(self, state: ClusterState, what: frozenset[str]) -> None:
        self.state = state
        for role, why in state.unreadable.items():
            if self._told.get(role) != why:
                self.log.error(
                    "role {role} cannot be read, and denies everything to who holds it: {why}",
                    role=role,
                    why=why,
                )
        self._told = state.unreadable
        for listener in list(self._listeners):
            try:
                listener(what)
            except Exception:
                # Whoever fails, the others have to hear: one of them cuts who is locked out.
                self.log.failure("a change of the cluster was not followed; this is a bug")


def _with(snapshot: Mapping[str, Any] | None, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The snapshot as it would be after *event*, which has been read without a fault."""
    assert snapshot is not None
    after = {**snapshot, "revision": event["revision"]}
    kind, name, resource = event["resource_kind"], event["name"], event["resource"]
    if (listed := {"role": "roles", "lock": "locks"}.get(kind)) is not None:
        rest = [one for one in snapshot[listed] if one["metadata"]["name"] != name]
        after[listed] = rest if resource is None else [*rest, resource]
    elif kind == "user" and "users" in snapshot:
        others = [one for one in snapshot["users"] if one["name"] != name]
        told = {} if resource is None else resource["spec"]
        after["users"] = others if resource is None else [*others, {**told, "name": name}]
    elif kind == "cluster_networking_config" and resource is not None:
        after["networking"] = resource
    elif kind == "cluster_auth_preference" and resource is not None:
        after["auth_preference"] = resource
    elif kind == "agent_moves":
        after["moves"] = resource
    elif kind == "cert_authority" and resource is not None:
        after["authorities"] = {**snapshot["authorities"], name: resource}
    return after
