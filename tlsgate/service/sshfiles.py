"""What the node's own sshd reads of the agent: a host certificate, whom to trust, who may.

    host_key-cert.pub   the cluster's certificate for the machine's Ed25519 key, renewed
    host_key            a key of ours, made once, where the machine has none of that kind
    host_key.pub        the public half of the key that is certified
    user_ca.pub         the authorities whose user certificates count; more than one in a rotation
    principals/LOGIN    see `service.principals`

It is the machine's own key that is certified, of which the agent reads the public half only.
sshd shows a certificate to whoever takes one, and OpenSSH's client takes one wherever it knows
an Ed25519 key of the machine; if it does not know the authority, it compares the key inside.
A key of our own would be a changed host key to everybody who has known the machine before.

Every file is replaced whole. sshd reads user_ca.pub and the principals at each login, so
nobody has to tell it of changes. It takes a host key from a file that nobody else may read
(`sshkey_perm_ok` in OpenSSH's authfile.c), and principals from files below folders that only
root and the login's user may write (StrictModes in sshd_config(5)).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from tlsgate.core.wire.sshcert import key_blob, parse_line
from tlsgate.errors import BadBytes, BadKeyPair
from tlsgate.tls.publickeys import load_ssh_public_key
from tlsgate.tls.secretfile import create_secret

#: Everybody may look for a file in a folder, and read one whose name they know: sshd reads
#: principals as the user who logs in.
FOLDER_MODE: Final = 0o711
FILE_MODE: Final = 0o644

#: A host key of ours has 400 bytes.
_KEY_BYTES: Final = 4096

#: As every system has it for its own sshd.
MACHINE_KEY: Final = Path("/etc/ssh/ssh_host_ed25519_key.pub")

KEY, CERTIFICATE, USER_CAS, PRINCIPALS = (
    "host_key",
    "host_key-cert.pub",
    "user_ca.pub",
    "principals",
)


class SshFiles:
    """See the module.

    Args:
        folder: DATA/agent/ssh; made when something is written.
        machine_key: the public half of the machine's own Ed25519 key.
    """

    def __init__(self, folder: Path, machine_key: Path = MACHINE_KEY) -> None:
        self.folder = folder
        self._machine_key = machine_key
        self.principals = folder / PRINCIPALS

    def public_key(self) -> str:
        """The public half of the key to be certified, a line; one is made where there is none.

        Raises:
            OSError: it cannot be written or read.
            BadKeyPair: what is there is no key of ours.
        """
        make_folder(self.folder)
        public = self._machines() or self._own()
        put_if_other(self.folder / f"{KEY}.pub", f"{public}\n".encode())
        return public

    @property
    def is_certified(self) -> bool:
        """Whether the certificate that is there is for the key that there is."""
        try:
            line = (self.folder / CERTIFICATE).read_text("ascii")
            return parse_line(line).key == key_blob(self.public_key())
        except (OSError, ValueError, BadBytes, BadKeyPair):
            return False

    def _machines(self) -> str | None:
        """The machine's own key; None: it has none of that kind."""
        try:
            with self._machine_key.open("rb") as opened:
                line = b" ".join(opened.read(_KEY_BYTES).split()[:2])
            key = load_ssh_public_key(line)
        except (OSError, BadBytes):
            return None
        return line.decode() if isinstance(key, ed25519.Ed25519PublicKey) else None

    def _own(self) -> str:
        file = self.folder / KEY
        if not file.exists():
            made = ed25519.Ed25519PrivateKey.generate()
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            with suppress(FileExistsError):  # another process was first: there is one key
                create_secret(file, pem)
        with file.open("rb") as opened:
            pem = opened.read(_KEY_BYTES)
        try:
            key = load_ssh_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise BadKeyPair(str(file), "holds no OpenSSH key without a password") from error
        return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def keep(self, certificate: str | None, user_cas: Sequence[str]) -> bool:
        """Keep what the cluster says.

        Args:
            certificate: of the host key, a line; None: the one that is there stays.
            user_cas: keys of the authority for users' OpenSSH certificates, lines; empty:
                those that are there stay, as sshd would trust nobody by an empty file.

        Returns:
            Whether the certificate is another one than before.

        Raises:
            OSError: it cannot be written; what was there stays.
            BadBytes: the certificate is none, or not for our key; a line is no key.
        """
        for line in user_cas:
            load_ssh_public_key(line)  # nothing but a key may stand there: no options
        another = False
        if certificate is not None:
            line = certificate.strip()
            if parse_line(line).key != key_blob(self.public_key()):
                raise BadBytes("OpenSSH certificate", "it is not for this host's key")
            another = put_if_other(self.folder / CERTIFICATE, f"{line}\n".encode())
        if user_cas:
            make_folder(self.folder)
            lines = "".join(f"{' '.join(line.split()[:2])}\n" for line in user_cas)
            put_if_other(self.folder / USER_CAS, lines.encode())
        return another


def make_folder(folder: Path) -> None:
    """Make *folder* as sshd wants it: anybody may pass, its owner alone may change it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o777 != FOLDER_MODE:
        folder.chmod(FOLDER_MODE)


def put(path: Path, content: bytes, *, durable: bool) -> None:
    """Put *content* in the place of *path*; a reader sees the old file or the new one.

    Args:
        durable: wait for the disk, so that a loss of power leaves one of the two.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, FILE_MODE)  # whatever the umask
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(descriptor)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def put_if_other(path: Path, content: bytes) -> bool:
    """The same, durably, unless it is there already; whether it was not."""
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        pass
    put(path, content, durable=True)
    return True
