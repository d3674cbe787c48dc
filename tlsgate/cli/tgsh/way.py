"""The way of SSH to a gateway: what it says now, never what a profile remembers.

1. The last answer to /webapi/ping is believed for a minute, and only where it leads to the
   web port: what is dialled there is seen to fail, and then the gateway is asked afresh. The
   jump host is dialled by ssh itself, so for that one it is asked every time.
2. Where the answer leads elsewhere than the profile does, one line says so, and the profile
   is set right. So is all else that it has of the gateway's addresses, without a word: nobody
   has to log in again for that.

Who gives that answer proves nothing by it: the web certificate is looked at, but a wrong one
is taken as well, since the answer only says which door to knock at. Behind each of them the
gateway has to show a certificate of the cluster's own host authority.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Mapping

from tlsgate.cli.outward import connect
from tlsgate.cli.tgsh.flat import Place, text_of
from tlsgate.core.addresses import host_port
from tlsgate.core.sshway import (
    ANSWER_BYTES,
    FRESH_SECONDS,
    MULTIPLEX,
    SshWay,
    read_answer,
    ssh_way,
)

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from typing import Any

#: For one answer to /webapi/ping.
PING_SECONDS = 10.0


def say(words: str) -> None:
    """One line on stderr, whatever a gateway has put into it."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    print(f"tgsh: {plain}", file=sys.stderr, flush=True)


def way_now(
    place: Place,
    *,
    afresh: bool = False,
    ask: Callable[[Place], bytes] | None = None,
    now: Callable[[], float] = time.time,
) -> SshWay:
    """The way to the gateway at *place*.

    Args:
        place: the profile.
        afresh: what is remembered does not count, since a dial has failed, or a file is to
            be written by the answer.
        ask: asks the gateway.
        now: seconds since the epoch.

    Raises:
        GateError, OSError: it cannot be asked, or its answer is none.
    """
    kept = None if afresh else _kept(place, now())
    if kept is not None and kept[0] == MULTIPLEX:
        return kept
    try:
        answer = answer_now(place, ask=ask, now=now)
    except OSError:
        if kept is None:
            raise
        return kept  # seconds old; its jump host may be there though the web port is not
    return ssh_way(answer, place.host, place.port)


def answer_now(
    place: Place,
    *,
    ask: Callable[[Place], bytes] | None = None,
    now: Callable[[], float] = time.time,
) -> Mapping[str, Any]:
    """What the gateway at *place* says of itself now; the profile is set right by it.

    Args:
        place: the profile.
        ask: asks the gateway.
        now: seconds since the epoch.

    Raises:
        GateError, OSError: it cannot be asked, or its answer is none.
    """
    answer = read_answer((ask or asked)(place))
    way = ssh_way(answer, place.host, place.port)
    known = _last_proxy(place)
    _keep(place, answer, now())
    # A login keeps its answer, so where none is kept there is nothing to compare with.
    _set_right(place, answer, way, same=known in (None, answer.get("proxy")))
    return answer


def told(way: SshWay) -> str:
    """A way as a profile has it: "multiplex", or the address of the jump host."""
    mode, host, port = way
    return mode if mode == MULTIPLEX else host_port(host, port)


def asked(place: Place) -> bytes:
    """Ask the gateway at *place* for /webapi/ping.

    Raises:
        OSError: nobody is there.
        Unreachable: it is no gateway.
    """
    kept = text_of(place.web_authorities) or ""
    try:
        return _get(place, _looking(kept))
    except ssl.SSLCertVerificationError:
        return _get(place, _blind())


def _get(place: Place, context: ssl.SSLContext) -> bytes:
    import http.client

    name = None if _is_address(place.host) and not context.check_hostname else place.host
    spoken = http.client.HTTPConnection(place.host, place.port, timeout=PING_SECONDS)
    plain = connect(place.host, place.port, PING_SECONDS)
    try:
        spoken.sock = context.wrap_socket(plain, server_hostname=name)
        spoken.request("GET", "/webapi/ping", headers={"Accept": "application/json"})
        answer = spoken.getresponse()
        text = answer.read(ANSWER_BYTES + 1)
        if answer.status != 200:
            from tlsgate.errors import Unreachable

            raise Unreachable(place.where, f"it is no tlsgate gateway (HTTP {answer.status})")
        return text
    except http.client.HTTPException as e:
        raise OSError(str(e) or type(e).__name__) from e
    finally:
        spoken.close()
        plain.close()


def _looking(kept: str) -> ssl.SSLContext:
    if kept.strip() in ("", "system"):
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=kept)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context


def _blind() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _kept(place: Place, now: float) -> SshWay | None:
    """The way that a fresh answer had; None where there is none."""
    text = text_of(place.cache)
    try:
        found = json.loads(text or "")
        answer = found["answer"]
        fresh = 0 <= now - float(found["asked"]) <= FRESH_SECONDS
        if not fresh or found["address"] != place.where or not isinstance(answer, dict):
            return None
        return ssh_way(answer, place.host, place.port)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _last_proxy(place: Place) -> object:
    """What the last answer that is kept said of addresses, however old it is; or None."""
    try:
        return json.loads(text_of(place.cache) or "")["answer"]["proxy"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _keep(place: Place, answer: Mapping[str, Any], now: float) -> None:
    if not os.path.isdir(os.path.dirname(place.cache)):
        return
    from pathlib import Path

    from tlsgate.cli.files import write_private

    text = kept_text(place.where, answer, now)
    try:
        write_private(Path(place.cache), text)
    except OSError:
        return  # a folder that is read only costs a question each time, and nothing else


def kept_text(where: str, answer: Mapping[str, Any], now: float) -> bytes:
    """What the file of the last answer holds."""
    return json.dumps({"asked": now, "address": where, "answer": answer}).encode()


def _set_right(place: Place, answer: Mapping[str, Any], way: SshWay, *, same: bool) -> None:
    """Say that the profile is wrong, and write it anew; nothing where it is right.

    Args:
        same: the gateway has said all of this before, so only the way has to be looked at.
    """
    new, old = told(way), place.told or MULTIPLEX
    if new == old and same:
        return
    place.told = new
    from pathlib import Path

    from tlsgate.cli.tgsh.fromping import profile_from, told_places
    from tlsgate.cli.tgsh.home import Home
    from tlsgate.errors import BadAsk

    names = {MULTIPLEX: f"its web port {place.port}"}
    words = f"{place.where} takes SSH at {names.get(new, new)} now, not at {names.get(old, old)}"
    home = Home(Path(place.folder))
    profile = profile_from(answer, place.where, place.host, place.user, place.cluster)
    try:
        kept = home.profile(place.host)
        if kept is None or told_places(kept) != told_places(profile):
            home.rewrite(profile)
    except BadAsk as e:
        if new != old:
            say(f"{words}; the profile stays wrong, since {e}")
        return
    if new != old:
        say(f"{words}; the profile is set right")
