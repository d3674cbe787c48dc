"""What gateway and agent say on opening a connection, and later on the control connection.

1. The agent's first frame is its `AgentHello`; the gateway answers with a `GatewayHello`,
   whose `error` is a sentence where it refuses.
2. On the control connection either side then says one of the words at the end of this file.

The bodies are JSON objects. A key that is not known is ignored here: these are facts, and no
limits, which stand in `core.offers`. A word that is not known is one of a newer version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, get_args

from attrs import frozen

from tlsgate.core.offers import Offer
from tlsgate.errors import BadBytes

#: Of the frames; another one is another protocol.
VERSION: Final = 1

ConnectionKind = Literal["control", "stream"]
_CONNECTION_KINDS: Final[tuple[ConnectionKind, ...]] = get_args(ConnectionKind)

#: Of a name, an address, an identifier.
_WORD: Final = 256
#: Of a sentence.
_TEXT: Final = 1024
#: Of roles, workers, gateways.
_ENTRIES: Final = 256
#: Of what one agent offers.
OFFERS: Final = 1000
#: Of streams that are asked for, or given up, at once.
STREAMS: Final = 1000
_LONGEST_PING_SECONDS: Final = 3600.0
#: Within which agents come back that have lost a gateway, each at a random moment (R07).
LONGEST_SPREAD_SECONDS: Final = 8.0
_SHORTEST_SPREAD_SECONDS: Final = 1.0
_BACK_A_SECOND: Final = 100

_WORKER = re.compile(r"[0-9]{1,4}")
#: A name, or an address in brackets, and a port.
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z_][0-9A-Za-z_.-]{0,252}):([0-9]{1,5})")


@frozen(kw_only=True)
class AgentHello:
    """An agent's first frame.

    Attributes:
        kind: what this connection is for.
        agent: the name in its certificate.
        cluster: the one in its certificate.
        version: of its tlsgate.
        session: of its control connection; "" on a control connection itself.
        roles: that its certificate has, and that it fills.
        offers: on a control connection; else ().
        hostname: of the machine, for people.
    """

    kind: ConnectionKind
    agent: str
    cluster: str
    version: str
    session: str = ""
    roles: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    hostname: str = ""

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {
            "v": VERSION,
            "kind": self.kind,
            "agent": self.agent,
            "cluster": self.cluster,
            "version": self.version,
            "session": self.session,
            "roles": list(self.roles),
            "offers": [one.told() for one in self.offers],
            "hostname": self.hostname,
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> AgentHello:
        """Read what `told` gives.

        Raises:
            BadBytes: it is nothing of the kind.
        """
        _check_version(told)
        kind = told.get("kind")
        if kind not in _CONNECTION_KINDS:
            _bad("kind is neither control nor stream")
        return cls(
            kind=kind,
            agent=_text(told, "agent", _WORD),
            cluster=_text(told, "cluster", _WORD),
            version=_text(told, "version", _WORD),
            session=_text(told, "session", _WORD, empty=True),
            roles=_words(told, "roles"),
            offers=_offers(told),
            hostname=_text(told, "hostname", _WORD, empty=True),
        )


@frozen(kw_only=True)
class GatewayHello:
    """The gateway's first frame.

    Attributes:
        gateway: its name; `worker` is the one of its workers that answers.
        workers: all of them: an agent connects to each.
        version: of its tlsgate.
        session: of this control connection, which its streams name.
        ping_seconds: between two pings on it.
        spares: idle streams that the agent should open at once.
        gateways: "host:port" of other gateways, each of which is asked for /webapi/find.
        error: why it refuses; "" where it does not.
        spread_seconds: over how long its agents spread when they have lost it: long where
            there are many, so that they do not come back all at once. An older one says
            nothing.
    """

    gateway: str
    worker: str = "0"
    workers: tuple[str, ...] = ("0",)
    version: str
    session: str = ""
    ping_seconds: float = 15.0
    spares: int = 1
    gateways: tuple[str, ...] = ()
    error: str = ""
    spread_seconds: float = LONGEST_SPREAD_SECONDS

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {
            "v": VERSION,
            "gateway": self.gateway,
            "worker": self.worker,
            "workers": list(self.workers),
            "version": self.version,
            "session": self.session,
            "ping_seconds": self.ping_seconds,
            "spares": self.spares,
            "gateways": list(self.gateways),
            "error": self.error,
            "spread_seconds": self.spread_seconds,
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> GatewayHello:
        """Read what `told` gives.

        Raises:
            BadBytes: it is nothing of the kind.
        """
        _check_version(told)
        return cls(
            gateway=_text(told, "gateway", _WORD),
            worker=_number(told.get("worker"), "worker"),
            workers=_workers(told),
            version=_text(told, "version", _WORD),
            session=_text(told, "session", _WORD, empty=True),
            ping_seconds=_seconds(told, "ping_seconds"),
            spares=_count(told, "spares", 0),
            gateways=_gateways(told),
            error=_text(told, "error", _TEXT, empty=True),
            spread_seconds=min(_spread(told), LONGEST_SPREAD_SECONDS),
        )


# -- the words of the control connection -----------------------------------------------


@frozen
class Inventory:
    """The agent offers this from now on, and nothing else."""

    offers: tuple[Offer, ...]
    hostname: str = ""

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        offers = [one.told() for one in self.offers]
        return {"say": "inventory", "offers": offers, "hostname": self.hostname}


@frozen
class Open:
    """The gateway asks for so many more streams."""

    count: int

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {"say": "open", "count": self.count}


@frozen
class Retire:
    """The agent would like to have so many fewer idle streams."""

    count: int

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {"say": "retire", "count": self.count}


@frozen
class Drain:
    """No new request comes, or is taken, on this session's streams; they close when idle."""

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {"say": "drain"}


@frozen
class Reconnect:
    """The gateway asks the agent to ask for the way and dial again, and then to drain this."""

    why: str

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {"say": "reconnect", "why": self.why}


@frozen
class Unmoved:
    """The agent cannot do what `Reconnect` asks for; it tries on, and serves here meanwhile."""

    why: str

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        plain = "".join(sign if sign.isprintable() else "?" for sign in self.why)
        return {"say": "unmoved", "why": plain[:_TEXT]}


@frozen(kw_only=True)
class Changed:
    """What the gateway's HELLO has said is something else now."""

    ping_seconds: float
    spares: int
    workers: tuple[str, ...]
    gateways: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {
            "say": "settings",
            "ping_seconds": self.ping_seconds,
            "spares": self.spares,
            "workers": list(self.workers),
            "gateways": list(self.gateways),
        }


Said = Inventory | Open | Retire | Drain | Reconnect | Unmoved | Changed


def read_said(told: Mapping[str, Any]) -> Said | None:
    """Read the body of a CONTROL frame; None for a word that is not known here.

    Raises:
        BadBytes: it is a word that is known, and not as it should be.
    """
    match _text(told, "say", _WORD):
        case "inventory":
            return Inventory(_offers(told), _text(told, "hostname", _WORD, empty=True))
        case "open":
            return Open(_count(told, "count", 1))
        case "retire":
            return Retire(_count(told, "count", 1))
        case "drain":
            return Drain()
        case "reconnect":
            return Reconnect(_text(told, "why", _TEXT, empty=True))
        case "unmoved":
            return Unmoved(_text(told, "why", _TEXT, empty=True))
        case "settings":
            return Changed(
                ping_seconds=_seconds(told, "ping_seconds"),
                spares=_count(told, "spares", 0),
                workers=_workers(told),
                gateways=_gateways(told),
            )
        case _:
            return None


# -- reading -----------------------------------------------------------------------------


def _check_version(told: Mapping[str, Any]) -> None:
    version = told.get("v")
    if version != VERSION or isinstance(version, bool):
        _bad(f"it is of a version other than {VERSION}")


def _offers(told: Mapping[str, Any]) -> tuple[Offer, ...]:
    values = _all(told, "offers", OFFERS)
    found = tuple(map(Offer.read, values))
    if len({(one.kind, one.name) for one in found}) != len(found):
        _bad("it offers something twice")
    return found


def _words(told: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(_word(one, key, _WORD) for one in _all(told, key, _ENTRIES))


def _workers(told: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_number(one, "workers") for one in _all(told, "workers", _ENTRIES))


def _number(value: object, key: str) -> str:
    """A worker's, which agents write into their ALPN offers."""
    if not isinstance(value, str) or _WORKER.fullmatch(value) is None:
        _bad(f"{key} is no number of a worker")
    return value


def _gateways(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that can be dialled; one that cannot makes nothing of the others worse."""
    return tuple(one for one in _words(told, "gateways") if _is_address(one))


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and 0 < int(found[1]) <= 65535


def _all(told: Mapping[str, Any], key: str, most: int) -> Sequence[object]:
    values = told.get(key)
    if not isinstance(values, list) or len(values) > most:
        _bad(f"{key} is no list of at most {most} entries")
    return values


def _text(told: Mapping[str, Any], key: str, limit: int, *, empty: bool = False) -> str:
    return _word(told.get(key), key, limit, empty=empty)


def _word(value: object, key: str, limit: int, *, empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > limit or not (value or empty):
        _bad(f"{key} is no text of at most {limit} characters")
    if not value.isprintable():
        _bad(f"{key} cannot be printed")
    return value


def spread_seconds(agents: int) -> float:
    """Over how long so many *agents* of one gateway spread when they have lost it.

    Each costs a handshake or two: at a hundred a second there is time for people who log in.
    """
    return min(max(agents / _BACK_A_SECOND, _SHORTEST_SPREAD_SECONDS), LONGEST_SPREAD_SECONDS)


def _spread(told: Mapping[str, Any]) -> float:
    if "spread_seconds" not in told:
        return LONGEST_SPREAD_SECONDS
    return _seconds(told, "spread_seconds")


def _seconds(told: Mapping[str, Any], key: str) -> float:
    value = told.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _bad(f"{key} is no number")
    if not 0 < value <= _LONGEST_PING_SECONDS:  # false for NaN, too
        _bad(f"{key} is not between 0 and {_LONGEST_PING_SECONDS:g}")
    return float(value)


def _count(told: Mapping[str, Any], key: str, least: int) -> int:
    value = told.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= STREAMS:
        _bad(f"{key} is no whole number between {least} and {STREAMS}")
    return value


def _bad(why: str) -> NoReturn:
    raise BadBytes("tunnel message", why)
