"""An identity file laid out as a login, for programs that read files: ssh and scp.

1. The gateway of --proxy is asked which web certificates are its own, where the cluster's host
   authorities of the identity file vouch for it, and then how SSH is reached.
2. Key, certificates and authorities go into a folder of their own, for this user alone.
3. ssh runs beside us, not in our place (`attended`), and the folder goes when it has ended.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlsgate.cli.certfile import to_pem
from tlsgate.cli.credential import Credential, check_time, read_identity
from tlsgate.cli.tgsh.call import Call, way_of
from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.nodes import place_for, place_in
from tlsgate.errors import BadAsk

_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----\r?\n.*?\n-----END \1-----", re.DOTALL)
_SSH_LINE = re.compile(r"^[a-z][\w@.-]+ [A-Za-z0-9+/=]+", re.MULTILINE)
_AUTHORITY = re.compile(r"^@cert-authority \S+ ([\w@.-]+ [A-Za-z0-9+/=]+)", re.MULTILINE)


@contextmanager
def place_with_files(call: Call, cluster: str | None = None) -> Iterator[Place]:
    """The files of the login, or of the identity file, for as long as the context lasts.

    Raises:
        NotLoggedIn: nobody is logged in there, or the certificate has expired.
        BadAsk: the identity file is none, or has nothing for ssh; *cluster* is another.
        GateError: the gateway cannot be asked.
    """
    if call.identity is None:
        yield place_for(call, cluster)
        return
    # In memory where the system has a folder for that, which logging out empties.
    folder = Path(tempfile.mkdtemp(prefix="tgsh-", dir=_memory_folder()))
    try:
        yield _unpack(call, call.identity, folder, cluster)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory_folder() -> str | None:
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    if named:
        with suppress(OSError):
            told = os.stat(named)
            if told.st_uid == os.geteuid() and os.access(named, os.W_OK | os.X_OK):
                return named
    return None


def _unpack(call: Call, file: Path, folder: Path, cluster: str | None) -> Place:
    """Write what *file* has into *folder*, as a login does."""
    from tlsgate.cli.api import Address, Way
    from tlsgate.cli.tgsh.fromping import profile_from
    from tlsgate.cli.tgsh.gateway import find
    from tlsgate.cli.tgsh.home import Home
    from tlsgate.cli.tgsh.trust import told_chains
    from tlsgate.cli.tgsh.way import kept_text

    credential = read_identity(file)
    check_time(credential, f"tgsh login --out={file}", call.now())
    if call.proxy is None:
        raise BadAsk("an identity file names no gateway: add --proxy=HOST[:PORT]")
    if cluster is not None and cluster != credential.cluster:
        raise BadAsk(f"{file} is for {credential.cluster}, not for {cluster}")
    if credential.routes:
        raise BadAsk(f"{file} is for one database or application, not for SSH")
    key, ssh, known = _parts(file)
    address: Address = way_of(credential, call.proxy).address
    told = told_chains(call, address, credential.roots or "", credential.cluster)
    found = find([Way(address, roots=told or None)], call.open_way)
    host, user = address.host, credential.user
    profile = profile_from(found.ping, str(address), host, user, credential.cluster)
    home = Home(folder)
    jump = profile.ssh_proxy_addr.rpartition(":")[0].strip("[]")
    home.save(
        profile,
        {
            home.ping(host): kept_text(str(address), found.ping, call.now()),
            home.web_authorities(host): (told or "system\n").encode(),
            home.authorities(host, credential.cluster): (credential.roots or "").encode(),
            home.known_hosts: home.with_known_hosts(host, credential.cluster, known, jump),
            home.key(host, user): key,
            # ssh puts key and certificate together by it alone.
            home.key(host, user).with_name(f"{user}.pub"): _public(key, file),
            home.certificate(host, user): _pem(credential),
            home.ssh_certificate(host, user, credential.cluster): f"{ssh}\n".encode(),
        },
    )
    return place_in(folder, profile)


def _pem(credential: Credential) -> bytes:
    return to_pem(credential.certificate.der).encode()


def _public(key: bytes, file: Path) -> bytes:
    """The public half of *key*, as OpenSSH writes it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        public = load_pem_private_key(key, None).public_key()
        return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise BadAsk(f"{file} has a private key that ssh cannot use") from e


def _parts(file: Path) -> tuple[bytes, str, list[str]]:
    """The private key, the SSH certificate, and the authorities for known_hosts.

    Raises:
        BadAsk: the last two are not there.
    """
    text = file.read_text("ascii")  # `read_identity` has bounded and read it
    key = _KEY.search(text)
    # The lines of PEM have no space in them.
    certificate, known = _SSH_LINE.search(text), _AUTHORITY.findall(text)
    if key is None or certificate is None or not known:
        raise BadAsk(
            f"{file} has nothing for ssh in it: make one with `tgsh login --out=NAME` or "
            "`tgctl auth sign`, for a user whose roles have logins"
        )
    return f"{key[0]}\n".encode(), certificate[0], known
