"""Certificates of database users, and whom their servers' certificates are held against.

The auth service issues them for one database user at a time, on behalf of a user whose roles
allow that one. What it has issued serves every session of that database user for half of its
life; each session has been decided about by itself before.

One request at a time for each database user: the others wait for what it brings. Where auth
refuses it, that was about the one who asked, and the next one asks with his own certificate.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred

from tlsgate.config.settings import TargetTls
from tlsgate.core.addresses import split
from tlsgate.errors import BadKeyPair, GateError, TargetDenied, Unreachable
from tlsgate.targets.base import Arrived
from tlsgate.tls.contexts import Shown, target_context
from tlsgate.tls.handshake import Context
from tlsgate.tls.peer import load_cas

#: Databases times users that are remembered; a context takes some 50 KiB.
_REMEMBERED: Final = 256
#: Of what auth answers: certificates of one chain, and authorities.
_PEM: Final = 64 << 10
_CAS: Final = 16

_AUTH: Final = "the auth service"

#: The database's name and its user's.
Whose = tuple[str, str]


@define(eq=False)
class Passport:
    """What an agent shows as one database user, and whom it believes.

    Attributes:
        until: when another one is due, seconds since the epoch.
    """

    until: float
    _shown: Shown
    _cas: tuple[x509.Certificate, ...]
    _contexts: dict[tuple[TargetTls, tuple[bytes, ...]], Context] = field(factory=dict)

    def context(self, tls: TargetTls, alpn: tuple[bytes, ...]) -> Context:
        """What to dial a server with.

        Raises:
            BadKeyPair: the CA file, or the certificate, cannot be used.
        """
        made = self._contexts.get((tls, alpn))
        if made is None:
            # The server's authority is the cluster's own, unless the file says another one.
            made = target_context(
                self._cas,
                ca_file=tls.ca_file,
                system=tls.system_roots,
                alpn=alpn,
                shown=self._shown,
                unsafe_unverified=tls.mode == "insecure",
            )
            self._contexts[tls, alpn] = made
        return made


@frozen
class _Answer:
    """What auth has issued."""

    certificate: bytes
    leaf: x509.Certificate
    cas: tuple[x509.Certificate, ...]


class Passports:
    """See the module."""

    def __init__(self) -> None:
        self._known: OrderedDict[Whose, Passport] = OrderedDict()
        self._asked: dict[Whose, Deferred[None]] = {}
        #: What is on its way at a change of authorities is not remembered.
        self._round = 0

    def knows(self, whose: Whose) -> bool:
        """Whether there is one from before; it may be of an authority that is no more."""
        return whose in self._known

    def forget(self, whose: Whose) -> None:
        """It was of no use: ask again next time."""
        self._known.pop(whose, None)

    def forget_all(self) -> None:
        """The authorities are others: nobody shall be refused with what the last ones signed."""
        self._known.clear()
        self._round += 1

    async def get(self, arrived: Arrived, db_user: str) -> Passport:
        """What to show as *db_user* of the database that *arrived* is for.

        Raises:
            TargetDenied: auth refuses.
            Unreachable: it does not answer, or with something else.
        """
        whose = (arrived.asked.name, db_user)
        while True:
            known = self._known.get(whose)
            if known is not None and arrived.means.time() < known.until:
                self._known.move_to_end(whose)
                return known
            asked = self._asked.get(whose)
            if asked is None:
                return await self._ask(arrived, whose)
            # Each waits on one of his own, which no other's cancelling ends.
            waiting: Deferred[None] = Deferred()
            asked.chainDeferred(waiting)
            asked.addBoth(lambda _: None)
            await waiting

    async def _ask(self, arrived: Arrived, whose: Whose) -> Passport:
        over = self._asked[whose] = Deferred()
        failure: GateError | None = None
        now = self._round
        try:
            made = await _issue(arrived, whose)
            if now == self._round:
                self._known[whose] = made
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return made
        except Unreachable as error:
            failure = error  # nobody of those who wait would get another answer
            raise
        finally:
            del self._asked[whose]
            if failure is None:
                over.callback(None)
            else:
                over.errback(failure)
                over.addErrback(lambda _: None)


async def _issue(arrived: Arrived, whose: Whose) -> Passport:
    asked, (database, db_user) = arrived.asked, whose
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = {
        "database": database,
        "db_user": db_user,
        "db_name": asked.details.get("db_name") or None,
        "address": split(asked.client)[0] or None,
        "user_certificate": base64.b64encode(asked.certificate).decode("ascii"),
        "public_key": public.decode("ascii"),
    }
    status, said = await arrived.door.ask("POST", "/v1/agent/db-certificates", body)
    if status != 200:
        why = _sentence(status, said)
        if status == 403:
            raise TargetDenied(asked.user, f"db {database}", why)
        raise Unreachable(_AUTH, why)
    answer = _read(said)
    begins = answer.leaf.not_valid_before_utc.timestamp()
    ends = answer.leaf.not_valid_after_utc.timestamp()
    # Half of what is left, not of the whole: it begins before it was issued.
    now = arrived.means.time()
    until = now + (ends - max(begins, now)) / 2
    return Passport(until=until, shown=Shown(answer.certificate, key), cas=answer.cas)


def _read(said: Any) -> _Answer:
    """The certificate and the authorities.

    Raises:
        Unreachable: it is nothing of the kind.
    """
    try:
        pem, cas = said["certificate"], said["cas"]
        if not isinstance(pem, str) or not isinstance(cas, list) or len(cas) > _CAS:
            raise TypeError
        if len(pem) + sum(map(len, cas)) > _PEM:
            raise TypeError
        chain = load_cas([pem])
        return _Answer(pem.encode("ascii"), chain[0], load_cas(cas))
    except (KeyError, TypeError, ValueError, IndexError, BadKeyPair) as error:
        raise Unreachable(_AUTH, "what it issues for the database cannot be read") from error


def _sentence(status: int, said: Any) -> str:
    error = said.get("error") if isinstance(said, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    return str(message)[:512] if message else f"it answers with status {status}"
