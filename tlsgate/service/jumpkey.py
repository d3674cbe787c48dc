"""The key that a gateway's jump host shows, kept below DATA/gateway, and its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import evolve, frozen
from twisted.logger import Logger

from tlsgate.errors import GateError
from tlsgate.tls.secretfile import replace_secret
from tlsgate.tls.sshhost import SshHost, SshHostFiles, keep_key

_KEY: Final = "ssh_host_ed25519_key"


@frozen
class JumpKey:
    """One key for all workers of a gateway; each of them has a certificate of its own.

    Attributes:
        shared: DATA/gateway.
        own: the worker's folder, which may be the same.
    """

    shared: Path
    own: Path
    log = Logger()

    def line(self) -> str:
        """Give the public key as a line; made where there is none.

        Raises:
            BadKeyPair: what is there cannot be read.
            OSError: it cannot be written.
        """
        return keep_key(self.shared / _KEY)

    def certify(self, line: str | None) -> None:
        """Keep the certificate that the cluster gives; None: it gives none."""
        if line:
            replace_secret(self._certificate, line.encode())
        else:
            self._certificate.unlink(missing_ok=True)

    @property
    def certified(self) -> bool:
        """Whether a certificate is kept."""
        return self._certificate.exists()

    def files(self) -> SshHostFiles | None:
        """What clients are shown: the certificate, too, where a good one is kept."""
        key = self.shared / _KEY
        if not key.exists():
            return None
        bare = SshHostFiles(key_file=str(key))
        if not self.certified:
            return bare
        files = evolve(bare, cert_file=str(self._certificate))
        try:
            SshHost.load(files)
        except GateError as error:
            self.log.error("the SSH host certificate is not shown: {error}", error=str(error))
            return bare
        return files

    @property
    def _certificate(self) -> Path:
        return self.own / f"{_KEY}-cert.pub"
