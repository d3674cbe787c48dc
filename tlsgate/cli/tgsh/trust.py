"""Whom a login believes: the first good one of several ways to the gateway.

1. With --ca-pin the password goes over `tlsgate-join`, whose chain shows the pinned
   authority. The web certificate is looked at, but nothing depends on it.
2. Without a pin the web certificate has to be good: by the machine's authorities, or by
   those that an earlier login has kept.
3. Failing that, a gateway whose cluster is known from an earlier login is believed by the
   cluster's host authorities, over `tlsgate-join` again.
   Both then ask the gateway which web certificates are its own (`tlsgate-webcert`), so that
   other programs can be told an authority that verifies them.
4. --insecure believes anybody. A password goes there only over loopback, or where
   --unsafe-send-password says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from tlsgate.cli.faults import ClockWrong
from tlsgate.cli.files import read_some
from tlsgate.cli.tgsh.gateway import PORTS, Found, find, is_loopback, parse_proxy
from tlsgate.errors import BadAsk, GateError, Untrusted

if TYPE_CHECKING:
    from tlsgate.cli.api import Address, Way
    from tlsgate.cli.tgsh.call import Call

#: All public authorities together have a quarter of it.
_BUNDLE_BYTES = 1 << 20
#: No gateway has so many web certificates.
_MOST_CHAINS = 64


def find_gateway(call: Call, proxy: str, pins: Sequence[str] = ()) -> Found:
    """The gateway at *proxy*, and its answer to /webapi/ping.

    Its `way` says who it proved to be: by `roots`, by the machine's authorities, or, with
    `anyone`, nobody.

    Raises:
        Unreachable: nobody answers there.
        Untrusted: its certificate is not good, and neither a pin nor --insecure is given.
    """
    from tlsgate.cli.api import Address, Way

    host, port = parse_proxy(proxy)
    addresses = [Address(host, one) for one in ((port,) if port else PORTS)]
    trusts = [Way(addresses[0])]
    if (roots := _roots(call.profiles().web_authorities(host))) is not None:
        trusts.insert(0, evolve(trusts[0], roots=roots))
    if pins or call.insecure or _authorities(call, host):
        trusts.append(evolve(trusts[0], roots=None, anyone=True))
    first: GateError | None = None
    for trust in trusts:
        call.trace(f"asking {', '.join(map(str, addresses))} for /webapi/ping")
        try:
            return find([evolve(trust, address=one) for one in addresses], call.open_way)
        except (Untrusted, ClockWrong) as e:
            call.trace(str(e))
            first = first or e
    assert first is not None
    raise first


def login_way(call: Call, found: Found, pins: Sequence[str], unsafe: bool) -> Way:
    """The way for a password to the gateway that was found.

    Raises:
        BadAsk: nobody there is known well enough.
    """
    from tlsgate.cli.api import JOIN, Way

    way = found.way
    if pins:
        return Way(way.address, JOIN, pins=tuple(map(checked_pin, pins)))
    if not way.anyone:
        return way
    if not call.insecure:
        roots, cluster = _authorities(call, way.address.host) or ("", None)
        return Way(way.address, JOIN, roots=roots, cluster=cluster)
    if is_loopback(way.address.host) or unsafe:
        return way
    raise BadAsk(
        f"--insecure sends no password to {way.address}, since anybody could answer there: log "
        "in with the --ca-pin that `tgctl status` shows, or add --unsafe-send-password"
    )


def web_authorities(call: Call, found: Found, way: Way, roots: str, cluster: str) -> bytes:
    """What certs.pem is to hold: the authority of the web certificate, or `system`.

    Args:
        call: that of the login.
        found: the gateway.
        way: how the login went; it has proven more than *found* where that is nobody.
        roots: the host authorities of *cluster*, PEM.
    """
    from tlsgate.cli.api import JOIN
    from tlsgate.cli.certfile import to_pem

    if not found.way.anyone:
        return (found.way.roots or _machines() or "system\n").encode()
    if way.door == JOIN and (told := told_chains(call, way.address, roots, cluster)):
        return told.encode()
    # Believed once and only here; from anywhere else it could be anybody's.
    if is_loopback(way.address.host) and found.presented:
        return to_pem(found.presented[-1]).encode()
    return roots.encode() if way.door == JOIN else b"system\n"


def told_chains(call: Call, address: Address, roots: str, cluster: str) -> str:
    """The authorities of the web certificates as the gateway itself names them, PEM.

    Asked where the cluster's own certificate vouches for it. "" where it does not say, as
    gateways before this question do.
    """
    from tlsgate.cli.api import WEBCERT, Way
    from tlsgate.cli.certfile import pem_blocks, to_pem

    asked = Way(address, WEBCERT, roots=roots, cluster=cluster)
    try:
        answer = call.open_way(asked).ask("GET", "/webapi/certificates")
        chains = [pem_blocks(str(one["chain"])) for one in answer["certificates"][:_MOST_CHAINS]]
    except (GateError, LookupError, TypeError) as e:
        call.trace(f"the gateway does not tell its web certificate: {e}")
        return ""
    # Who verifies needs the end of each chain: the authority where the file has it.
    return "".join(dict.fromkeys(to_pem(chain[-1]) for chain in chains if chain))


def _machines() -> str | None:
    """The machine's authorities where a variable named them: other programs will not see it."""
    named = os.environ.get("SSL_CERT_FILE")
    try:
        return named and read_some(Path(named), _BUNDLE_BYTES)
    except (OSError, ValueError):
        return None


def checked_pin(pin: str) -> str:
    """*pin* as it is compared.

    Raises:
        BadAsk: it is no pin.
    """
    digest = pin.lower().removeprefix("sha256:")
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise BadAsk("--ca-pin is sha256: and 64 hexadecimal digits, as `tgctl status` shows it")
    return f"sha256:{digest}"


def _authorities(call: Call, host: str) -> tuple[str, str] | None:
    """The cluster's host authorities and its name, from an earlier login."""
    profile = call.profiles().profile(host)
    if profile is None:
        return None
    roots = _roots(call.profiles().authorities(host, profile.cluster))
    return (roots, profile.cluster) if roots else None


def _roots(file: Path) -> str | None:
    """The authorities that an earlier login has kept in *file*; None where it has not."""
    from tlsgate.cli.api import roots_in

    try:
        return roots_in(file)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise BadAsk(f"{file} cannot be read: {e.strerror}") from e
