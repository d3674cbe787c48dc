"""What a gateway knows of its cluster at a moment, and what it decides from it.

Pure values: the lines of the API's watch go in (`ClusterState.fresh`, `changed`), and
decisions come out. A line that cannot be read is an error, never a smaller check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

from attrs import evolve, frozen

from tlsgate.core import durations, sshidentity
from tlsgate.core import roles as rules
from tlsgate.core.access import Decision, Identity, Kind, decide
from tlsgate.core.certroutes import is_narrow, misfit
from tlsgate.core.claims import Claims
from tlsgate.core.locks import Lock, LockTable, facts_of, lock_of
from tlsgate.core.roles import Options, Person, Role, Target, effective, parse_role, unreadable
from tlsgate.core.routing import Route
from tlsgate.core.wire.sshcert import SshCertificate
from tlsgate.errors import BadBytes, BadResource

#: Authorities whose certificates gateways verify.
_NEEDED: Final = ("user", "host")
#: The authority of users' OpenSSH certificates.
_NARROW: Final = "the certificate is for one service only, and not for this one"
_SSH: Final = "ssh_user"
#: The label that says where a cluster's setting comes from.
_ORIGIN: Final = "teleport.dev/origin"
_MODES: Final[Mapping[object, str]] = MappingProxyType({0: "separate", 1: "multiplex"})


@frozen(kw_only=True)
class ClusterState:
    """See the module.

    Attributes:
        revision: of the cluster's store.
        cluster: its name.
        authorities: by type, the certificates (PEM) or keys (lines) that are trusted now.
        anchors: by "user" and "host", the SHA-256 of each trusted certificate's DER; by
            "ssh_user", and by "user" too, that of each trusted OpenSSH key's blob.
        roles: by name; one that cannot be read denies everything to who holds it.
        unreadable: those roles, by name, with the reason.
        locks: those that are set.
        networking: the spec of cluster_networking_config; {} where nobody has written it.
        strict_locks: whether cluster_auth_preference says so for everybody.
        people: users by name, as they are now; None: the auth service does not tell of them.
    """

    revision: int
    cluster: str
    authorities: Mapping[str, tuple[str, ...]]
    anchors: Mapping[str, frozenset[bytes]]
    roles: Mapping[str, Role]
    unreadable: Mapping[str, str]
    locks: LockTable
    networking: Mapping[str, Any]
    strict_locks: bool = False
    people: Mapping[str, Person] | None = None

    @classmethod
    def fresh(cls, line: Mapping[str, Any]) -> ClusterState:
        """Read a snapshot.

        Raises:
            BadBytes: it lacks something.
            BadResource: a lock in it cannot be read.
        """
        try:
            trusted = {kind: _trusted(public) for kind, public in line["authorities"].items()}
            roles = dict(map(_role, line["roles"]))
            return cls(
                revision=int(line["revision"]),
                cluster=str(line["cluster"]),
                authorities=trusted,
                anchors=_anchors(trusted),
                roles={name: role for name, (role, _) in roles.items()},
                unreadable={name: why for name, (_, why) in roles.items() if why is not None},
                locks=LockTable(map(lock_of, line["locks"])),
                networking=_networking(line["networking"]),
                strict_locks=_strict_locks(line.get("auth_preference")),
                people=_people(line.get("users")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadBytes("snapshot", f"{type(error).__name__} {error}") from error

    def changed(self, line: Mapping[str, Any]) -> ClusterState:
        """Give the state after an event.

        Raises:
            BadBytes: the event lacks something.
            BadResource: its lock cannot be read.
        """
        try:
            kind, name, resource = line["resource_kind"], str(line["name"]), line["resource"]
            after = evolve(self, revision=int(line["revision"]))
            if kind == "role":
                _, (role, why) = (name, (None, None)) if resource is None else _role(resource)
                roles = _with(self.roles, name, role)
                return evolve(after, roles=roles, unreadable=_with(self.unreadable, name, why))
            if kind == "lock":
                if resource is None:
                    return evolve(after, locks=self.locks.drop(name))
                return evolve(after, locks=self.locks.put(lock_of(resource)))
            if kind == "user" and self.people is not None:
                person = None if resource is None else _person(name, resource["spec"])
                return evolve(after, people=_with(self.people, name, person))
            if kind == "cluster_networking_config" and resource is not None:
                return evolve(after, networking=_networking(resource))
            if kind == "cluster_auth_preference" and resource is not None:
                return evolve(after, strict_locks=_strict_locks(resource))
            if kind == "cert_authority" and resource is not None:
                trusted = {**self.authorities, name: _trusted(resource)}
                return evolve(after, authorities=trusted, anchors=_anchors(trusted))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadBytes("cluster event", f"{type(error).__name__} {error}") from error
        return after

    @property
    def mode(self) -> str | None:
        """What clients are told to use: "multiplex" or "separate"; None: nobody has said."""
        mode = self.networking.get("proxy_listener_mode")
        return None if mode is None else _MODES.get(mode, str(mode))

    @property
    def ping_seconds(self) -> float | None:
        """Between two pings to a client with a ping token; None: nobody has said."""
        written = self.networking.get("proxy_ping_interval")
        return durations.read(written) if isinstance(written, str) else None

    def is_ours(self, identity: Identity) -> bool:
        """Whether an authority of the cluster has issued the certificate, for its kind."""
        claims = identity.claims
        return (
            claims is not None
            and claims.cluster == self.cluster
            and identity.anchor in self.anchors.get(claims.kind, frozenset())
        )

    def lock_on(self, identity: Identity, now: float) -> Lock | None:
        """The lock that shuts the holder out, or None.

        Who has connected below an authority that is gone meanwhile is still ours to lock.
        """
        claims = identity.claims
        if claims is None or not self.locks or not self._says_ours(identity):
            return None
        known = evolve(claims, roles=self._role_names(claims)) if claims.kind == "user" else claims
        facts = facts_of(known, serial=identity.serial, fingerprint=identity.fingerprint)
        return self.locks.matches(facts, now)

    def strict_for(self, identity: Identity) -> bool:
        """Whether the holder comes in only on what is known of locks now."""
        return self.strict_locks or self.options(identity).strict_locks

    def options(self, identity: Identity) -> Options:
        """What the holder's roles say of a session: those of the certificate, and those of now."""
        claims = identity.claims
        names = () if claims is None else self._role_names(claims)
        return effective([self.roles[name] for name in names if name in self.roles])

    def decide(
        self, route: Route, identity: Identity | None, address: str | None, now: float
    ) -> Decision:
        """Decide about a static route.

        A certificate of another authority is held against `allow`, as without a cluster. One
        of the cluster's users needs a role of `require_role` that the certificate names and
        the user still has; where a route has no such list and no authorities of its own,
        `allow` may name the user by `cn`.

        Args:
            route: whose target is to be reached.
            identity: from the verified certificate.
            address: of the client, for pinned certificates.
            now: seconds since the epoch.
        """
        if identity is None or identity.claims is None or not self._says_ours(identity):
            return decide(route.allow, identity)
        claims = identity.claims
        if (refused := self._refused(identity, claims, address, now)) is not None:
            return refused
        if is_narrow(claims.routes):
            return Decision(False, _NARROW)
        if (person := self._person(claims)) is None:
            return self._gone(claims)
        if (odd := self._unreadable(person.roles)) is not None:
            return odd
        for role in route.require_role:
            if role in claims.roles and role in person.roles and role in self.roles:
                return self._allow(identity, f"role {role}")
        if route.require_role:
            return Decision(False, f"none of the roles {', '.join(route.require_role)}")
        if not route.client_ca_files:
            for rule in route.allow:
                if rule.kind is Kind.CN and rule.value == claims.name:
                    return self._allow(identity, f"rule {rule}")
        return Decision(False, "no rule names this user")

    def decide_target(
        self, identity: Identity, target: Target, address: str | None, now: float
    ) -> Decision:
        """Decide about what an agent offers, by what is known of the user now.

        The roles of the certificate count as far as the user still has them, and its traits
        are those of now. A deny of any role that the user has counts at once, also where the
        certificate does not name the role yet. An OpenSSH certificate names no roles: there
        the user's are those of now.

        Args:
            target: without a login the labels are enough; the target's sshd asks for the rest.
            address: of the client, for pinned certificates.
            now: seconds since the epoch.
        """
        claims = identity.claims
        if claims is None:
            return Decision(False, "the certificate is none of the cluster's")
        if (refused := self._refused(identity, claims, address, now)) is not None:
            return refused
        if why := misfit(claims.routes, target):
            return Decision(False, why)
        if (person := self._person(claims)) is None:
            return self._gone(claims)
        if (odd := self._unreadable(person.roles)) is not None:
            return odd
        mine = [self.roles[name] for name in person.roles if name in self.roles]
        shown = person
        if not self._by_ssh(identity):
            still = tuple(name for name in person.roles if name in claims.roles)
            shown = evolve(person, roles=still)
        decision = rules.decide_target(mine, shown, target)
        if decision.allowed and shown.roles != person.roles:
            # With more roles only a deny can change that.
            decision = rules.decide_target(mine, person, target)
        if not decision.allowed:
            return decision
        allowed = self._allow(identity, decision.why)
        if rules.audits_queries(mine, person, target):
            return evolve(allowed, audit_queries=True)
        return allowed

    def ssh_identity(self, certificate: SshCertificate, now: float) -> Identity:
        """Who holds an OpenSSH certificate, by its words: the signature is checked elsewhere.

        Args:
            now: seconds since the epoch.

        Raises:
            BadCertificate: it is not one of a user of the cluster, or not good now.
        """
        trusted = {_key(line) for line in self.authorities.get(_SSH, ())}
        return sshidentity.identity_of(
            certificate, trusted, cluster=self.cluster, people=self.people, now=now
        )

    def _refused(
        self, identity: Identity, claims: Claims, address: str | None, now: float
    ) -> Decision | None:
        """Why the holder reaches nothing at all, whatever its roles; or None."""
        if not self.is_ours(identity):
            return Decision(False, "another authority has issued what claims to be the cluster's")
        if claims.kind != "user":
            return Decision(False, f"{claims.name} is a {', '.join(claims.system_roles)}, no user")
        if (lock := self.lock_on(identity, now)) is not None:
            return Decision(False, f"{lock}: {lock.message}" if lock.message else str(lock))
        if claims.pinned_address is not None and claims.pinned_address != address:
            return Decision(False, f"the certificate is good from {claims.pinned_address} only")
        return None

    def _person(self, claims: Claims) -> Person | None:
        """The user as known now; by the certificate where nobody tells of users; None: gone."""
        if self.people is None:
            return Person(claims.name, claims.roles, claims.traits)
        return self.people.get(claims.name)

    def _gone(self, claims: Claims) -> Decision:
        return Decision(False, f"there is no user {claims.name} any more")

    def _unreadable(self, roles: Iterable[str]) -> Decision | None:
        for role in sorted(self.unreadable.keys() & set(roles)):
            return Decision(False, f"role {role} cannot be read, and so denies everything")
        return None

    def _role_names(self, claims: Claims) -> tuple[str, ...]:
        """Those that the certificate names, and those that the user has now."""
        person = None if self.people is None else self.people.get(claims.name)
        now = () if person is None else person.roles
        return tuple(dict.fromkeys((*claims.roles, *now)))

    def _by_ssh(self, identity: Identity) -> bool:
        return identity.anchor in self.anchors[_SSH]

    def _allow(self, identity: Identity, why: str) -> Decision:
        options = self.options(identity)
        until = identity.not_after if options.disconnect_expired_cert else None
        return Decision(True, why, options.client_idle_seconds, until)

    def _says_ours(self, identity: Identity) -> bool:
        """Whether the certificate speaks of this cluster, or stands below its authorities."""
        claims = identity.claims
        assert claims is not None
        ours = any(identity.anchor in anchors for anchors in self.anchors.values())
        return ours or claims.cluster == self.cluster


def _trusted(public: Mapping[str, Any]) -> tuple[str, ...]:
    """What an authority's public part trusts, as PEM or OpenSSH lines."""
    found = []
    for key in public.get("spec", public)["keys"]:
        text = key["certificate"] if "certificate" in key else key["public_key"]
        if not isinstance(text, str):
            _bad("an authority trusts something that is no text")
        found.append(text)
    return tuple(found)


def _role(resource: Mapping[str, Any]) -> tuple[str, tuple[Role, str | None]]:
    """A role by its name, and why it cannot be read; None: it can.

    A role that only a newer version understands shuts out who holds it, and nobody else.
    """
    name = resource["metadata"]["name"]
    if not isinstance(name, str):
        _bad("a role has no name")
    try:
        return name, (parse_role(resource), None)
    except BadResource as error:
        return name, (unreadable(name), str(error))


def _networking(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec, where somebody has written it; the default depends on the file's version."""
    labels = resource["metadata"].get("labels", {})
    return {} if labels.get(_ORIGIN) == "defaults" else dict(resource["spec"])


def _strict_locks(preference: Mapping[str, Any] | None) -> bool:
    """What cluster_auth_preference says; an auth service of an older version says nothing."""
    return preference is not None and preference["spec"].get("locking_mode") == "strict"


def _anchors(trusted: Mapping[str, tuple[str, ...]]) -> Mapping[str, frozenset[bytes]]:
    found = {}
    for kind in _NEEDED:
        if not trusted.get(kind):
            _bad(f"there is no authority for {kind} certificates")
        found[kind] = frozenset(hashlib.sha256(_der(pem)).digest() for pem in trusted[kind])
    found[_SSH] = frozenset(hashlib.sha256(_key(line)).digest() for line in trusted.get(_SSH, ()))
    found["user"] |= found[_SSH]
    return found


def _der(pem: str) -> bytes:
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        _bad("a certificate is no PEM")


def _key(line: str) -> bytes:
    """The blob of an authority's OpenSSH key; certificates are compared with its bytes."""
    try:
        return base64.b64decode(line.split()[1], validate=True)
    except (binascii.Error, IndexError):
        _bad("an authority's OpenSSH key is none")


def _people(listed: Sequence[Mapping[str, Any]] | None) -> Mapping[str, Person] | None:
    """Users by name; an auth service of an older version does not tell of them."""
    if listed is None:
        return None
    return {str(one["name"]): _person(str(one["name"]), one) for one in listed}


def _person(name: str, told: Mapping[str, Any]) -> Person:
    roles, traits = told.get("roles", ()), told.get("traits", {})
    if not _are_words(roles) or not all(_are_words(values) for values in traits.values()):
        _bad("a user's roles or traits are no lists of text")
    return Person(name, tuple(roles), {key: tuple(values) for key, values in traits.items()})


def _are_words(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(one, str) for one in values)


def _with(mapping: Mapping[str, Any], name: str, value: Any) -> Mapping[str, Any]:
    rest = {key: one for key, one in mapping.items() if key != name}
    return rest if value is None else {**rest, name: value}


def _bad(why: str) -> NoReturn:
    raise BadBytes("cluster state", why)
