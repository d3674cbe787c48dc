"""Options with which OpenSSH and PuTTY use a cluster's certificates, away from the caller's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.cluster import Holder


class SshFiles:
    """Key, certificate and known hosts of somebody, as OpenSSH wants them.

    Args:
        who: whose they are.
        key: in PEM where it is not the holder's own one.
    """

    def __init__(self, who: Holder, key: bytes | None = None) -> None:
        folder = who.folder
        loaded = load_pem_private_key(who.key.read_bytes() if key is None else key, None)
        self.key = folder / f"{who.name}_ssh"
        self.key.write_bytes(
            loaded.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        )
        os.chmod(self.key, 0o600)
        self.cert = Path(f"{self.key}-cert.pub")
        self.cert.write_text(who.issued["ssh_certificate"] + "\n")
        self.known = folder / "known_hosts"
        lines = [f"@cert-authority * {line.strip()}\n" for line in who.issued["cas"]["ssh_host"]]
        self.known.write_text("".join(lines))
        self.config = folder / "ssh_config"

    def write_config(self, port: int, *, jump: str = "gw.test", address: str = "127.0.0.1") -> Path:
        """A file with which `ssh -F` reaches every node over the jump host."""
        common = f"""
    IdentityFile {self.key}
    CertificateFile {self.cert}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {self.known}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    LogLevel INFO
"""
        self.config.write_text(
            f"""Host {jump}
    HostName {address}
    HostKeyAlias {jump}
    Port {port}
    User alice
{common}
Host *
{common}
"""
        )
        return self.config

    def words(self, *more: str) -> Sequence[str]:
        """The beginning of a command line."""
        return ("ssh", "-F", str(self.config), *more)
