"""A gateway without an auth service beside it, or an agent: how it joins its cluster, and stays.

1. `enter` gives the cluster's name. At a first start it makes a key, dials `tlsgate-join`,
   sees by the pin that the cluster's own auth service answers, and shows the token; what it
   gets is kept (`hostfiles`), and no token is needed again.
2. `door` asks that auth service from then on, with the certificate, by `tlsgate-auth`.
3. `renew` gets the next certificate; the one that is shown is enough for it.

An agent dials its gateways for both. Their port carries these two tokens to the auth service,
and it is the auth service that has to answer: no gateway stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.endpoints import quoteStringArgument, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from tlsgate.cluster.anyof import AnyOf
from tlsgate.cluster.hostfiles import HostFiles, Joined
from tlsgate.cluster.httpdoor import HttpDoor
from tlsgate.config.settings import Join
from tlsgate.core.addresses import whole
from tlsgate.errors import BadAsk, BadKeyPair, NotJoined, Unreachable
from tlsgate.interfaces import IAuthDoor
from tlsgate.net.outbound import way_out
from tlsgate.tls.dialing import ClusterTls, Expected
from tlsgate.tls.keypair import LoadedPair
from tlsgate.tls.peer import load_cas
from tlsgate.tls.pins import normal_pin, pin_of

#: A server that does not take a connection within so long is tried no further.
CONNECT_SECONDS: Final = 2.0

_AUTH, _JOIN = b"tlsgate-auth", b"tlsgate-join"
_WHERE: Final = "the auth service"
#: A token or a pin is far shorter.
_FILE_BYTES: Final = 65536


class Joining:
    """See the module.

    Args:
        join: where the cluster is.
        name: of this host.
        files: what is kept, and for which system role.
        reactor: Twisted's.
        now: seconds since the epoch.
        writes: False: another process of this daemon joins and renews; this one reads.
        environ: of the process, where an HTTP proxy may stand; None: none is used.
    """

    log = Logger()

    @property
    def target(self) -> str:
        """Where the TLS of the auth service's own protocols goes, as a client endpoint."""
        host, port = whole(self._join.servers[0])
        return f"tcp:{quoteStringArgument(host)}:{port}"

    def __init__(
        self,
        join: Join,
        name: str,
        files: HostFiles,
        reactor: Any,
        now: Callable[[], float],
        *,
        writes: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = environ
        self._roles = files.roles
        self._join = join
        self._name = name
        self._files = files
        self._reactor = reactor
        self._now = now
        self._writes = writes
        #: The host authorities that the cluster names now, PEM; (): nothing is heard yet.
        self.authorities: Callable[[], Sequence[str]] = tuple
        #: More keys to be certified, as the API calls them, and who takes all that is issued.
        self.more_keys: Callable[[], Mapping[str, str]] = dict
        self.issued: Callable[[Mapping[str, Any]], None] = lambda _: None

    @property
    def _advice(self) -> str:
        """How to get a token that is for all that this host is."""
        types = ",".join(self._roles)
        return f"make one with `tgctl tokens add --type={types}`, for teleport.auth_token"

    # -- becoming a member --

    async def enter(self) -> Joined:
        """What this host is in its cluster; joins it where it is none yet.

        Raises:
            NotJoined: something has to be done by somebody, and the sentence says what.
            Unreachable: the auth service does not answer.
            Untrusted: somebody else answers.
        """
        known = self._files.joined()
        ended = known is not None and known.not_after <= self._now()
        lacks = [] if known is None else [one for one in self._roles if one not in known.roles]
        if known is not None and not ended and not lacks:
            self._check(known)
            return known
        if known is not None and self._join.token is None:
            if ended:
                why = "its certificate has ended while it was away; give it a new auth_token"
            else:
                why = f"its certificate is not for {' and '.join(lacks)}; {self._advice}"
            raise NotJoined(why)
        if not self._writes:
            raise NotJoined("no other process of this daemon has joined it")
        token, pins = self._token(), self._pins()
        expected = Expected(cluster=self._join.cluster, pins=pins, anyone=not pins)
        answer = await self._ask_to_join(token, expected)
        joined = self._keep(answer)
        self._check(joined)
        self.log.info(
            "joined the cluster {cluster} as {role} {name}",
            cluster=joined.cluster,
            role=", ".join(self._roles),
            name=joined.name,
        )
        return joined

    async def _ask_to_join(self, token: str, expected: Expected) -> Any:
        body = {
            "token": token,
            "type": self._roles[0],
            **({"also": list(self._roles[1:])} if self._roles[1:] else {}),
            "name": self._name,
            "tls_public_key": self._public_key(),
            **self.more_keys(),
        }
        door = self._dial(_JOIN, lambda: expected, lambda: None)
        status, answer = await door.ask("POST", "/v1/join", body)
        if status == 200:
            return answer
        said = _message(answer)
        if status == 401:
            raise NotJoined(f"{said}; {self._advice}")
        if status == 409:
            raise NotJoined(f"{said}; set another teleport.nodename, or wait until that one ends")
        if status >= 500:
            raise Unreachable(_WHERE, said)
        raise NotJoined(said)

    def _check(self, joined: Joined) -> None:
        if "gateway" not in self._roles and joined.name != self._name:
            # A gateway's name stands nowhere but in logs; an agent is reached by it.
            raise NotJoined(
                f"it has joined as {joined.name}, and teleport.nodename says {self._name}; write "
                f"{joined.name} there, or remove {self._files.folder} and join anew with a token"
            )
        wanted = self._join.cluster
        if wanted is not None and joined.cluster != wanted:
            raise NotJoined(
                f"it is a member of {joined.cluster}, and auth_service.cluster_name says {wanted}"
            )

    def _token(self) -> str:
        written = self._join.token
        if written is None:
            raise NotJoined(f"teleport.auth_token is missing; {self._advice}")
        return _text_of(written, "teleport.auth_token")

    def _pins(self) -> tuple[str, ...]:
        pins = self._join.pins
        if not pins:
            if self._join.unsafe_no_pin:
                return ()
            raise NotJoined(
                "teleport.ca_pin is missing, so anybody could answer; `tgctl status` on the auth "
                "host shows the pin"
            )
        found = []
        for written in pins:
            text = _text_of(written, "teleport.ca_pin")
            try:
                if "-----BEGIN" in text:
                    found += [pin_of(one) for one in load_cas([text], written)]
                else:
                    found += [normal_pin(line) for line in text.split()]
            except (BadAsk, BadKeyPair, ValueError) as error:
                raise NotJoined(f"teleport.ca_pin: {error}") from error
        return tuple(found)

    # -- being one --

    def door(self) -> HttpDoor:
        """Make what asks the auth service as this host; it is used only after `enter`."""
        return self._dial(_AUTH, self._expected, self._pair)

    async def renew(self, door: IAuthDoor, *, at_once: bool) -> float:
        """Get the next certificate if it is due, and give the time of the one after it.

        Args:
            door: our own.
            at_once: another key of the host authority signs now.

        Raises:
            GateError: the auth service does not give it.
        """
        joined = self._files.joined()
        assert joined is not None
        due = at_once or joined.renew_at <= self._now()
        if self._writes and (due or set(load_cas(self.authorities())) != set(joined.cas)):
            body = {"tls_public_key": self._public_key(), **self.more_keys()}
            status, answer = await door.ask("POST", "/v1/me/certificates", body)
            if status != 200:
                raise Unreachable(_WHERE, _message(answer))
            joined = self._keep(answer)
        return joined.renew_at

    def _public_key(self) -> str:
        try:
            return self._files.public_key()
        except OSError as error:
            raise NotJoined(f"its key cannot be kept: {error.strerror}") from error

    def _keep(self, answer: Any) -> Joined:
        try:
            joined = self._files.keep(answer["certificate"], "".join(answer["cas"]["host"]))
        except (KeyError, TypeError) as error:
            raise Unreachable(_WHERE, "its answer cannot be read") from error
        except OSError as error:
            raise NotJoined(f"its certificate cannot be kept: {error.strerror}") from error
        self.issued(answer)
        return joined

    def _pair(self) -> LoadedPair | None:
        joined = self._files.joined()
        return None if joined is None else joined.pair

    def _expected(self) -> Expected:
        joined = self._files.joined()
        assert joined is not None
        now = load_cas(self.authorities())
        return Expected(cluster=joined.cluster, cas=now or joined.cas)

    def _dial(
        self,
        token: bytes,
        expected: Callable[[], Expected],
        pair: Callable[[], LoadedPair | None],
    ) -> HttpDoor:
        ways: list[IStreamClientEndpoint] = []
        for server in self._join.servers:
            host, port = whole(server)
            tcp = way_out(self._reactor, host, port, CONNECT_SECONDS, environ=self._environ or {})
            name = None if _is_address(host) else host
            tls = ClusterTls(token, expected, pair, name, self._reactor, self._now)
            ways.append(wrapClientTLS(tls, tcp))
        where = f"{_WHERE} at {', '.join(self._join.servers)}"
        return HttpDoor(self._reactor, AnyOf(ways), where, far=True)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _text_of(written: str, key: str) -> str:
    """*written*, or what is in the file that it names.

    Raises:
        NotJoined: the file cannot be read.
    """
    if not written.startswith("/"):
        return written
    try:
        with Path(written).open("rb") as file:
            text = file.read(_FILE_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise NotJoined(f"{key}: {written}: {why}") from error
    if not text:
        raise NotJoined(f"{key}: {written} is empty")
    return text


def _message(answer: Any) -> str:
    try:
        return str(answer["error"]["message"])[:512]
    except (KeyError, TypeError):
        return "its answer cannot be read"
