"""What auth keeps encrypted at rest: the authorities' keys, and who else asks.

1. `Seal.open` reads DATA/auth.key, or makes it at the first start.
2. `close` encrypts a secret for one place, `reveal` gives it back for the same place.

AES-256-GCM with a random nonce; the place, the secret's key in the store, is associated
data, so that a value that was moved to another key does not open there. A store that is
copied or backed up is of no use without the key file, and the file is not in the backup.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final, Self

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsgate.errors import BadSeal
from tlsgate.tls.secretfile import create_secret

KEY_FILE: Final = "auth.key"

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D section 8.2.2; far below 2^32 secrets a key
_TAG_BYTES: Final = 16
#: Before nonce, ciphertext and tag: which sealing this is.
_PREFIX: Final = b"tg1\0"


@frozen(eq=False)
class Seal:
    """The key of one data directory."""

    file: Path
    _cipher: AESGCM = field(repr=False)

    @classmethod
    def open(cls, data_dir: Path, *, fresh: bool = True) -> Self:
        """Read the key file of *data_dir*.

        Args:
            fresh: make one where there is none; False where a store with sealed keys is
                there already, and a new key would open none of them.

        Raises:
            BadSeal: it is missing and not to be made, open to others, or no key file.
        """
        file = data_dir / KEY_FILE
        try:
            if fresh and not file.exists():
                _make(file)
            return cls(file, AESGCM(_read(file)))
        except FileNotFoundError as error:
            why = f"{file} is missing; put it back from where you keep it, beside the backup"
            raise BadSeal("what auth keeps", why) from error
        except OSError as error:
            why = f"{file}: {error.strerror or 'cannot be read'}"
            raise BadSeal("what auth keeps", why) from error

    def close(self, secret: bytes, place: str) -> bytes:
        """Encrypt *secret*, to be kept under the key *place* of the store."""
        nonce = os.urandom(_NONCE_BYTES)
        return _PREFIX + nonce + self._cipher.encrypt(nonce, secret, _bound_to(place))

    def reveal(self, sealed: bytes, place: str) -> bytes:
        """Decrypt what `close` gave for *place*.

        Raises:
            BadSeal: another key file closed it, or for another place, or it was changed.
        """
        begin = len(_PREFIX)
        if sealed[:begin] != _PREFIX or len(sealed) < begin + _NONCE_BYTES + _TAG_BYTES:
            raise BadSeal(place, "it is not what this version keeps there")
        nonce, body = sealed[begin : begin + _NONCE_BYTES], sealed[begin + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, _bound_to(place))
        except InvalidTag as error:
            why = f"{self.file} is not the key file that it was encrypted with, or it was changed"
            raise BadSeal(place, why) from error


def _bound_to(place: str) -> bytes:
    return _PREFIX + place.encode()


def _make(file: Path) -> None:
    with contextlib.suppress(FileExistsError):  # another process has made it: theirs counts
        create_secret(file, os.urandom(_KEY_BYTES).hex().encode() + b"\n")


def _read(file: Path) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise BadSeal("what auth keeps", f"{file} is open to others; chmod it to 0600")
        text = stream.read(2 * _KEY_BYTES + 2)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one; the text stays out of the error
        key = b""
    if len(key) != _KEY_BYTES:
        raise BadSeal("what auth keeps", f"{file} holds no key of {_KEY_BYTES} bytes in hex")
    return key
