"""Who may log in to one node as whom now, as lines of AuthorizedPrincipals files.

sshd lets the holder of a certificate in where a line of the login's file names a principal of
the certificate, and our certificates have one: the user's name. So the files are the rule:
who is not in a login's file does not get in as that login, whichever way the client came.

The options before a name narrow what the certificate permits: sshd grants only what both do
(sshd(8), AUTHORIZED_KEYS FILE FORMAT: `restrict`, `expiry-time`). So a role that has lost port
forwarding takes it from certificates too that still permit it.

The answers are those of `core.roles.allowed_logins`, for thousands of people at once: what a
role says of this node is found out once, and what a set of roles says once for each set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from tlsgate.core import labels as labels_of
from tlsgate.core import templates
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.labels import Selector
from tlsgate.core.locks import agent_name, facts_of
from tlsgate.core.roles import Options, Person, Role, effective, is_login
from tlsgate.core.templates import Traits

#: Of a name in a line; the longest that a lock could name, too.
LONGEST_NAME: Final = 256

#: So many sets of roles are remembered at most.
_SETS: Final = 10_000

#: Characters that mean something else in such a file, or in a list of principals.
_MEANING: Final = frozenset(',"*?!#=')


@frozen(kw_only=True)
class Admission:
    """What one person may on the node.

    Attributes:
        name: the principal.
        logins: sorted.
        options: what stands before the name.
    """

    name: str
    logins: tuple[str, ...]
    options: str

    @property
    def line(self) -> str:
        """The line of each of the logins' files."""
        return f"{self.options} {self.name}"


@frozen(kw_only=True)
class _Standing:
    """What one role says of the node.

    Attributes:
        asks: whether its labels depend on who asks; then nothing is said of them yet.
        denies: whether it denies everything here.
        gives, bars: words of logins, of allow where its labels fit, and of deny.
    """

    role: Role
    asks: bool
    denies: bool
    gives: frozenset[str]
    bars: frozenset[str]


@frozen(kw_only=True)
class _Held:
    """What a set of roles comes to on the node.

    Attributes:
        denied: whatever the person's traits are.
        always: logins of roles whose labels fit, but for those that a deny has.
        words: templates of logins of the same.
        asking: roles whose labels depend on the person's traits.
        barred: logins that a deny has; `barring`: its patterns; `own_barring`: its templates.
    """

    denied: bool
    always: frozenset[str]
    words: frozenset[str]
    asking: tuple[Role, ...]
    barred: frozenset[str]
    barring: tuple[str, ...]
    own_barring: tuple[str, ...]
    options: Options


class Admissions:
    """Who may log in to one node, by what is known at one moment.

    Args:
        state: of the cluster.
        node: the node's name, which locks may name as an agent.
        labels: of the node, now.
        now: seconds since the epoch.
        fresh: whether what is known is younger than where locks are strict it must be.
        until: up to when it will be, as sshd reads a time: lines of people for whom locks are
            strict end then by themselves. "": lines have no end.
    """

    def __init__(
        self,
        state: ClusterState,
        node: str,
        labels: Mapping[str, str],
        now: float,
        *,
        fresh: bool = True,
        until: str = "",
        before: Admissions | None = None,
    ) -> None:
        self._state = state
        names = (node, agent_name(node, "node", state.cluster))
        self._agent = frozenset(("agent", name) for name in names)
        self._labels = dict(labels)
        self._now = now
        self._fresh = fresh
        self._until = f',expiry-time="{until}"' if until else ""
        self._locked_logins = frozenset(
            lock.target["login"] for lock in state.locks if "login" in lock.target
        )
        self._standing: dict[str, _Standing]
        self._held: dict[tuple[str, ...], _Held] = {}
        if before is not None and before._is_of(state, self._labels):
            self._standing, self._held = before._standing, before._held
        else:
            self._standing = {name: self._standing_of(role) for name, role in state.roles.items()}

    @property
    def people(self) -> tuple[Person, ...]:
        """Those who are known, by name; an auth service that tells of none lets none in."""
        people = self._state.people or {}
        return tuple(people[name] for name in sorted(people))

    def of(self, person: Person) -> Admission | None:
        """What *person* may; None: nothing."""
        if not is_principal(person.name):
            return None
        mine = self._held.get(person.roles)
        if mine is None:
            if len(self._held) >= _SETS:
                self._held.clear()
            mine = self._held[person.roles] = self._found(person)
        if mine.denied or self._is_shut_out(person, mine.options):
            return None
        logins = self._logins(mine, person.traits)
        if logins and self._state.locks:
            logins = self._unlocked(person, logins)
        if not logins:
            return None
        strict = self._is_strict(mine.options)
        options = f"{_permits(mine.options)}{self._until if strict else ''}"
        return Admission(name=person.name, logins=logins, options=options)

    # -- roles --

    def _is_of(self, state: ClusterState, labels: Mapping[str, str]) -> bool:
        """Whether the roles are the very same, which a change of anything else leaves."""
        return self._state.roles is state.roles and self._labels == labels

    def _standing_of(self, role: Role) -> _Standing:
        asks = _asks(role.deny.node_labels) or _asks(role.allow.node_labels)
        fits = not asks and self._fit(role.allow.node_labels, {})
        return _Standing(
            role=role,
            asks=asks,
            denies=not asks and self._fit(role.deny.node_labels, {}),
            gives=frozenset(role.allow.logins if fits else ()),
            bars=frozenset(role.deny.logins),
        )

    def _found(self, person: Person) -> _Held:
        """What the roles that *person* holds come to."""
        mine = [self._standing[name] for name in set(person.roles) & self._standing.keys()]
        given = frozenset[str]().union(*(one.gives for one in mine))
        words = frozenset[str]().union(*(one.bars for one in mine))
        barred = frozenset(word for word in words if is_login(word))
        rest = sorted(words - barred)
        barring = tuple(word for word in rest if not templates.is_template(word))
        return _Held(
            denied=any(one.denies for one in mine),
            always=frozenset(_left(given, barred, barring, {})),
            words=frozenset(word for word in given if templates.is_template(word)),
            asking=tuple(one.role for one in mine if one.asks),
            barred=barred,
            barring=barring,
            own_barring=tuple(word for word in rest if templates.is_template(word)),
            options=effective([one.role for one in mine]),
        )

    def _logins(self, mine: _Held, traits: Traits) -> tuple[str, ...]:
        words = set(mine.words)
        for role in mine.asking:
            if self._fit(role.deny.node_labels, traits):
                return ()
            if self._fit(role.allow.node_labels, traits):
                words.update(role.allow.logins)
        own = {login for word in words for login in templates.expand(word, traits)}
        found = mine.always.union(_left(own, mine.barred, mine.barring, traits))
        if mine.own_barring:
            return tuple(sorted(_left(found, frozenset(), mine.own_barring, traits)))
        return tuple(sorted(found))

    def _fit(self, selector: Selector, traits: Traits) -> bool:
        return labels_of.met(selector, self._labels, traits) is not None

    # -- locks --

    def _is_strict(self, options: Options) -> bool:
        return self._state.strict_locks or options.strict_locks

    def _is_shut_out(self, person: Person, options: Options) -> bool:
        """Whether a lock is on all that *person* does here, or may be without our knowledge."""
        if not self._fresh and self._is_strict(options):
            return True
        locks = self._state.locks
        if not locks:
            return False
        return locks.matches(facts_of(person) | self._agent, self._now) is not None

    def _unlocked(self, person: Person, logins: tuple[str, ...]) -> tuple[str, ...]:
        if self._locked_logins.isdisjoint(logins):
            return logins
        facts = facts_of(person) | self._agent
        return tuple(
            login
            for login in logins
            if self._state.locks.matches(facts | {("login", login)}, self._now) is None
        )


def next_change(state: ClusterState, now: float) -> float | None:
    """When the next lock ends, seconds since the epoch; None: none does."""
    ends = [one.expires for one in state.locks if one.expires is not None and one.expires > now]
    return min(ends, default=None)


def is_principal(name: str) -> bool:
    """Whether *name* can stand in such a file, and means nothing but itself."""
    return (
        0 < len(name) <= LONGEST_NAME
        and name.isprintable()
        and not any(letter.isspace() or letter in _MEANING for letter in name)
    )


def _left(
    logins: Iterable[str], barred: frozenset[str], barring: Sequence[str], traits: Traits
) -> Iterator[str]:
    """Those of *logins* that are some, and that no word of a deny fits.

    Whatever is a login is no pattern and no template: it fits itself alone.
    """
    for login in logins:
        if is_login(login) and login not in barred:
            if labels_of.fitting(barring, login, traits) is None:
                yield login


def _permits(options: Options) -> str:
    """What sshd may grant beside a command; the certificate has to permit it too."""
    words = ["restrict", "pty"]
    if options.port_forwarding:
        words.append("port-forwarding")
    if options.forward_agent:
        words.append("agent-forwarding")
    return ",".join(words)


def _asks(selector: Selector) -> bool:
    """Whether *selector* depends on who asks."""
    return any(templates.is_template(word) for words in selector.values() for word in words)
