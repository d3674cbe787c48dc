"""Certificates that are good for one database or one application, kept below the profile.

1. `fresh` takes the one that is kept, where it is for the same thing and good for a while.
2. Else a new key is made here, and the cluster asked for a certificate with these routes; it
   ends when the login does, or before.
3. Key and certificate are written, mode 0600; `tgsh logout` removes them with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from tlsgate.cli.certfile import pem_blocks
from tlsgate.cli.credential import Credential, credential_of
from tlsgate.cli.files import read_some, write_private
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.flat import is_part, part
from tlsgate.cli.tgsh.home import Profile, Saved
from tlsgate.core.certroutes import APP, CLUSTER, DB
from tlsgate.errors import BadAsk, BadBytes

#: A certificate that ends before is replaced, where the login lasts longer.
SOON_SECONDS = 300.0
#: And this one is not worth a connection.
OVER_SECONDS = 5.0

_LIMIT_BYTES = 1 << 18
_CERTIFICATE = "-x509.pem"


@frozen
class Narrow:
    """A certificate for one thing.

    Attributes:
        kind: "db" or "app".
        routes: as the certificate has them.
        certificate, key: files.
        not_after: when it ends, in seconds since the epoch.
    """

    kind: str
    routes: Mapping[str, str]
    certificate: Path
    key: Path
    not_after: float

    @property
    def name(self) -> str:
        """Of the database or the application."""
        return self.routes[self.kind]


def saved_login(call: Call) -> Saved:
    """The login that is meant, good now.

    Raises:
        BadAsk: an identity file was named, which keeps nothing.
        NotLoggedIn: there is none.
    """
    if call.identity is not None:
        raise BadAsk("this needs a login below the folder of profiles, and no identity file")
    return call.logged_in()


def kept(call: Call, kind: str, name: str) -> Narrow | None:
    """The certificate that is kept for *name*; None: there is none, or it is unreadable."""
    saved = saved_login(call)
    return _read(*_files(call, saved.profile, kind, name), kind)


def all_kept(call: Call, kind: str) -> list[Narrow]:
    """Every certificate of a kind that is kept and has not ended, by name."""
    saved = saved_login(call)
    folder = call.profiles().narrow(saved.profile, kind)
    names = [file.name.removesuffix(_CERTIFICATE) for file in folder.glob(f"*{_CERTIFICATE}")]
    found = [
        _read(*_files(call, saved.profile, kind, name), kind)
        for name in sorted(names)
        if is_part(name)
    ]
    return [one for one in found if one is not None and one.not_after > call.now()]


def one_kept(call: Call, kind: str, name: str | None, login: str) -> Narrow:
    """The certificate for *name*, or the only one that there is.

    Args:
        login: the command that makes one, for the sentence.

    Raises:
        BadAsk: there is none, or there are several.
    """
    found = all_kept(call, kind)
    if name is not None:
        found = [one for one in found if one.name == name]
    if not found:
        raise BadAsk(f"there is no certificate for it: run `{login} {name or 'NAME'}`")
    if len(found) > 1:
        raise BadAsk(f"name one of {', '.join(one.name for one in found)}")
    return found[0]


def fresh(call: Call, kind: str, routes: Mapping[str, str]) -> Narrow:
    """A certificate with *routes* that is good for a while: the kept one, or a new one.

    Raises:
        NotLoggedIn: the login has ended.
        GateError: the cluster refuses, or is not reached.
    """
    saved = saved_login(call)
    assert saved.credential is not None
    there = _read(*_files(call, saved.profile, kind, routes[kind]), kind)
    if there is not None and _plain(there.routes) == _plain(routes):
        left = there.not_after - call.now()
        longest = there.not_after >= saved.credential.not_after - 1
        if left > SOON_SECONDS or (longest and left > OVER_SECONDS):
            return there
    return issue(call, kind, routes)


def issue(
    call: Call, kind: str, routes: Mapping[str, str], ttl_seconds: int | None = None
) -> Narrow:
    """Have a certificate with *routes* issued, and keep it.

    Raises:
        NotLoggedIn: nobody is logged in.
        GateError: the cluster refuses, or is not reached.
    """
    from tlsgate.cli.issued import read_issued
    from tlsgate.cli.newkey import make_key

    saved = saved_login(call)
    certificate, key_file = _files(call, saved.profile, kind, routes[kind])
    key = make_key()
    call.trace(f"POST /v1/me/certificates for {' '.join(f'{k}={v}' for k, v in routes.items())}")
    answer = call.api().ask(
        "POST",
        "/v1/me/certificates",
        body={
            "tls_public_key": key.public_pem,
            "ssh_public_key": None,
            "ttl_seconds": ttl_seconds,
            "routes": dict(routes),
        },
    )
    issued = read_issued(answer, saved.profile.web_proxy_addr)
    try:
        # The key first: whoever finds the certificate finds what belongs to it.
        write_private(key_file, key.private_pem)
        write_private(certificate, issued.certificate.strip().encode() + b"\n")
    except OSError as e:
        raise BadAsk(f"{e.filename} cannot be written: {e.strerror}") from e
    made = _read(certificate, key_file, kind)
    if made is None or any(made.routes.get(name) != value for name, value in routes.items()):
        raise BadAsk(f"the cluster's certificate is not for {kind} {routes[kind]}")
    return made


def forget(call: Call, narrow: Narrow) -> None:
    """Remove a certificate and its key.

    Raises:
        BadAsk: they cannot be removed.
    """
    try:
        narrow.certificate.unlink(missing_ok=True)
        narrow.key.unlink(missing_ok=True)
    except OSError as e:
        raise BadAsk(f"{e.filename} cannot be removed: {e.strerror}") from e
    call.trace(f"{narrow.certificate} is removed")


def _plain(routes: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in routes.items() if name != CLUSTER}


def _files(call: Call, profile: Profile, kind: str, name: str) -> tuple[Path, Path]:
    folder = call.profiles().narrow(profile, kind)
    return folder / f"{part(name)}{_CERTIFICATE}", folder / f"{part(name)}.key"


def _read(certificate: Path, key: Path, kind: str) -> Narrow | None:
    """What is kept in two files; None: nothing that can be used."""
    assert kind in (DB, APP)
    try:
        text = read_some(certificate, _LIMIT_BYTES)
        if text is None or not key.exists():
            return None
        first, *_ = pem_blocks(text) or [b""]
        credential: Credential = credential_of(first, certificate, key)
    except (OSError, ValueError, BadBytes):
        return None
    if kind not in credential.routes:
        return None
    return Narrow(kind, credential.routes, certificate, key, credential.not_after)
