"""What a local proxy changes in HTTP, and what it refuses: pure rules over heads.

Every page in a browser on this machine can send requests to 127.0.0.1, and here they would
count as the user's. So a request has to name our own address as its host (a name that was
bound to 127.0.0.1 for the attack does not), and one that another page sends is refused unless
it only follows a link: no cookie is asked for here that browsers would keep back, so a page could
read whatever an application lets anybody's page read, or show it in a frame of its own.
Browsers tell who sends by `Origin` and `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/).

What is ours becomes the application's on the way in (Host, Origin, Referer), and the reverse
on the way out (Location, cookies).
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

Headers = Sequence[tuple[bytes, bytes]]

#: They are about one connection (RFC 9110 section 7.6.1); an upgrade keeps what names it.
_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection"})
#: What a browser says of a link that becomes a page of its own, and no part of another.
_FOLLOWS = frozenset({(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")})
_HERE = frozenset({b"same-origin", b"none"})


@frozen
class Refused:
    """A request that is not passed on: a status, and the reason."""

    status: int
    sentence: str


@frozen
class Names:
    """Who is who.

    Attributes:
        own: HOST[:PORT] under which programs on this machine may call us, lower case.
        shown: the one of them that answers name.
        app: what stands in Host at the gateway.
    """

    own: frozenset[bytes]
    shown: bytes
    app: bytes

    def check(self, method: bytes, target: bytes, headers: Headers) -> Refused | None:
        """Why a request is refused; None: it is not."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self.own:
            return Refused(403, f"this is {self.shown.decode()}, and nobody else")
        if not target.startswith(b"/") and target != b"*":
            return Refused(400, "only paths can be asked for")
        follows = method == b"GET" and {*headers} >= _FOLLOWS
        for name, value in headers:
            if name == b"origin" and not self._is_own(value):
                return Refused(403, "another page may not send this")
            if name == b"sec-fetch-site" and value.lower() not in _HERE and not follows:
                return Refused(403, "another page may not send this")
        return None

    def to_app(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """The headers of a request as the gateway gets them."""
        upgrade = any(name == b"upgrade" for name, _ in headers)
        found = []
        for name, value in headers:
            if name == b"host":
                value = self.app
            elif name == b"origin" and self._is_own(value):
                value = b"https://" + self.app
            elif name == b"referer":
                value = self._moved(value, inward=True)
            elif name in _HOP and not (upgrade and name == b"connection"):
                continue
            found.append((name, value))
        return found

    def to_program(self, headers: Headers, status: int) -> list[tuple[bytes, bytes]]:
        """The headers of an answer as the program gets them."""
        found = []
        for name, value in headers:
            if name in (b"location", b"content-location"):
                value = self._moved(value, inward=False)
            elif name == b"set-cookie":
                value = _cookie(value)
            elif name == b"access-control-allow-origin" and value == b"https://" + self.app:
                value = b"http://" + self.shown
            elif name == b"strict-transport-security" or (name in _HOP and status != 101):
                continue  # it would be kept for every program of this machine
            found.append((name, value))
        return found

    def _is_own(self, origin: bytes) -> bool:
        scheme, _, host = origin.lower().partition(b"://")
        return scheme == b"http" and host in self.own

    def _moved(self, value: bytes, *, inward: bool) -> bytes:
        """An absolute URI of one side as that of the other; of anywhere else as it is."""
        scheme, mark, rest = value.partition(b"://")
        host, slash, path = rest.partition(b"/")
        if not mark:
            return value
        if inward:
            if scheme.lower() != b"http" or host.lower() not in self.own:
                return value
            return b"https://" + self.app + slash + path
        if scheme.lower() not in (b"http", b"https") or host.lower() != self.app.lower():
            return value
        return b"http://" + self.shown + slash + path


def _cookie(value: bytes) -> bytes:
    """A cookie for our address: no other host's, and not for TLS only, which we do not speak."""
    first, *rest = value.split(b";")
    kept = [first]
    # Browsers demand it of these names, and take it from 127.0.0.1.
    prefixed = first.strip().lower().startswith((b"__host-", b"__secure-"))
    for attribute in rest:
        word = attribute.partition(b"=")[0].strip().lower()
        if word == b"domain" or (word == b"secure" and not prefixed):
            continue
        kept.append(attribute)
    return b";".join(kept)
