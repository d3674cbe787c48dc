"""The folder of a user's profiles: TGSH_HOME or ~/.tgsh, laid out as tsh lays out its own.

    current-profile                       the host of the gateway in use
    <proxyhost>.yaml                      where that gateway is, and who was logged in last
    known_hosts                           host authorities for OpenSSH
    keys/<proxyhost>/certs.pem            the web certificate's authority, or `system`
    keys/<proxyhost>/ping.json            the last answer to /webapi/ping (`way`)
    keys/<proxyhost>/cas/<cluster>.pem    the cluster's host authorities
    keys/<proxyhost>/<user>               the private key, PKCS #8; <user>.pub, <user>-x509.pem
    keys/<proxyhost>/<user>-ssh/<cluster>-cert.pub
    keys/<proxyhost>/<user>-{db,app}/<cluster>/<name>.key, <name>-x509.pem (`narrow`)

Folders are 0700, files 0600, each is replaced as a whole; the profile and current-profile
are written last, so whoever finds them finds the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tlsgate.cli.certfile import pem_blocks
from tlsgate.cli.credential import Credential, credential_of
from tlsgate.cli.files import read_some, write_private
from tlsgate.cli.tgsh.flat import is_part, part, read_flat
from tlsgate.errors import BadAsk, BadBytes

#: A profile is a dozen short lines, a certificate a few KiB.
_LIMIT_BYTES = 1 << 20


@frozen
class Profile:
    """What is known of one gateway and its user; the keys are tsh's."""

    web_proxy_addr: str
    user: str
    cluster: str
    ssh_proxy_addr: str = ""
    kube_proxy_addr: str = ""
    postgres_proxy_addr: str = ""
    mysql_proxy_addr: str = ""
    mongo_proxy_addr: str = ""
    tls_routing_enabled: bool = True
    auth_connector: str = "local"
    load_all_cas: bool = False
    mfa_mode: str = "auto"
    private_key_policy: str = "none"

    @property
    def host(self) -> str:
        """The gateway's host, by which its files are called."""
        return self.web_proxy_addr.rpartition(":")[0].strip("[]")


@frozen
class Saved:
    """A profile with the certificate that belongs to it, if there is one."""

    profile: Profile
    credential: Credential | None
    active: bool = field(default=False)


class Home:
    """The profiles below *folder*.

    Raises:
        BadAsk: from every method; a file cannot be read, written or understood.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known_hosts = folder / "known_hosts"

    # -- names -------------------------------------------------------------------

    def keys(self, host: str) -> Path:
        """The folder of everything that belongs to the gateway at *host*."""
        return self.folder / "keys" / part(host)

    def key(self, host: str, user: str) -> Path:
        """The user's private key."""
        return self.keys(host) / part(user)

    def certificate(self, host: str, user: str) -> Path:
        """The user's X.509 certificate."""
        return self.keys(host) / f"{part(user)}-x509.pem"

    def ssh_certificate(self, host: str, user: str, cluster: str) -> Path:
        """The user's OpenSSH certificate."""
        return self.keys(host) / f"{part(user)}-ssh" / f"{part(cluster)}-cert.pub"

    def narrow(self, profile: Profile, kind: str) -> Path:
        """The folder of certificates for one database ("db") or application ("app") each."""
        return self.keys(profile.host) / f"{part(profile.user)}-{kind}" / part(profile.cluster)

    def authorities(self, host: str, cluster: str) -> Path:
        """The cluster's host authorities, PEM."""
        return self.keys(host) / "cas" / f"{part(cluster)}.pem"

    def web_authorities(self, host: str) -> Path:
        """The authority of the web certificate, or the word `system`."""
        return self.keys(host) / "certs.pem"

    def ping(self, host: str) -> Path:
        """The gateway's last answer to /webapi/ping, and when it came."""
        return self.keys(host) / "ping.json"

    # -- reading -----------------------------------------------------------------

    def current(self) -> str | None:
        """The host of the gateway in use."""
        text = self._text(self.folder / "current-profile")
        return None if text is None else text.strip() or None

    def profile(self, host: str) -> Profile | None:
        """What is known of the gateway at *host*."""
        file = self.folder / f"{part(host)}.yaml"
        text = self._text(file)
        if text is None:
            return None
        try:
            found = read_flat(text)
            known = {name: found[name] for name in _FIELDS if found.get(name) is not None}
            made = Profile(**known)
            if not all(isinstance(getattr(made, name), kind) for name, kind in _FIELDS.items()):
                raise TypeError
            part(made.user), part(made.cluster), part(made.host)
        except (ValueError, AttributeError, TypeError, BadAsk) as e:
            raise BadAsk(f"{file} is no profile: log in again with `tgsh login`") from e
        return made

    def saved(self, host: str) -> Saved | None:
        """The profile of *host* with its user's certificate."""
        profile = self.profile(host)
        if profile is None:
            return None
        return Saved(profile, self._credential(profile), host == self.current())

    def all(self) -> list[Saved]:
        """Every profile, the one in use first."""
        hosts = sorted(file.stem for file in self.folder.glob("*.yaml") if is_part(file.stem))
        found = [saved for host in hosts if (saved := self.saved(host)) is not None]
        return sorted(found, key=lambda saved: not saved.active)

    def _credential(self, profile: Profile) -> Credential | None:
        file = self.certificate(profile.host, profile.user)
        text = self._text(file)
        if text is None:
            return None
        roots = self._text(self.authorities(profile.host, profile.cluster))
        try:
            first, *_ = pem_blocks(text) or [b""]
            return credential_of(first, file, self.key(profile.host, profile.user), roots or "")
        except BadBytes as e:
            raise BadAsk(f"{file}: {e}; log in again with `tgsh login`") from e

    def _text(self, file: Path) -> str | None:
        try:
            return read_some(file, _LIMIT_BYTES)
        except (OSError, ValueError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is no file of tgsh's"
            raise BadAsk(f"{file} cannot be read: {why}") from e

    # -- writing -----------------------------------------------------------------

    def save(self, profile: Profile, files: Mapping[Path, bytes]) -> None:
        """Write *files*, then the profile, then take it into use."""
        part(profile.cluster)
        try:
            for file, content in files.items():
                write_private(file, content)
        except OSError as e:
            raise BadAsk(f"{e.filename} cannot be written: {e.strerror}") from e
        self.rewrite(profile)
        self.use(profile.host)

    def rewrite(self, profile: Profile) -> None:
        """Write the profile alone; which one is in use stays as it is."""
        from tlsgate.cli.yamltext import to_yaml

        keys: dict[str, Any] = {name: getattr(profile, name) for name in _FIELDS}
        text = to_yaml({name: value for name, value in keys.items() if value != ""})
        try:
            write_private(self.folder / f"{part(profile.host)}.yaml", text.encode())
        except OSError as e:
            raise BadAsk(f"{e.filename} cannot be written: {e.strerror}") from e

    def use(self, host: str) -> None:
        """Make *host* the gateway in use."""
        try:
            write_private(self.folder / "current-profile", f"{host}\n".encode())
        except OSError as e:
            raise BadAsk(f"{e.filename} cannot be written: {e.strerror}") from e

    def with_known_hosts(
        self, host: str, cluster: str, authorities: list[str], jump: str = ""
    ) -> bytes:
        """known_hosts as it is to be: *cluster*'s host authorities instead of older ones.

        Args:
            host: of the gateway.
            cluster: whose authorities they are.
            authorities: lines with kind and key.
            jump: the host of the SSH listener, where it is another.
        """
        hosts = dict.fromkeys((part(host), *([jump] if jump else ()), cluster))
        names = ",".join(pattern for one in hosts for pattern in _patterns(one))
        kept = self._other_hosts(host, cluster)
        kept += [f"@cert-authority {names} {' '.join(line.split()[:2])}" for line in authorities]
        return "".join(f"{line}\n" for line in kept).encode()

    def _other_hosts(self, host: str, cluster: str) -> list[str]:
        """The lines that are not of this gateway and cluster."""
        kept = []
        for line in (self._text(self.known_hosts) or "").splitlines():
            mark, _, rest = line.partition(" ")
            names = rest.partition(" ")[0].split(",")
            ours = names[0] == host and f"*.{cluster}" in names
            if mark != "@cert-authority" or not ours:
                kept.append(line)
        return kept

    def forget(self, profile: Profile) -> None:
        """Remove the user's key and certificates, and the rest where nobody else uses it."""
        host, user = profile.host, profile.user
        try:
            for file in (
                self.key(host, user),
                self.certificate(host, user),
                self.keys(host) / f"{user}.pub",
            ):
                file.unlink(missing_ok=True)
            for kind in ("ssh", "db", "app", "kube"):
                shutil.rmtree(self.keys(host) / f"{user}-{kind}", ignore_errors=True)
            if not any(self.keys(host).glob("*-x509.pem")):
                shutil.rmtree(self.keys(host), ignore_errors=True)
                kept = self._other_hosts(host, profile.cluster)
                write_private(self.known_hosts, "".join(f"{one}\n" for one in kept).encode())
            (self.folder / f"{host}.yaml").unlink(missing_ok=True)
            if self.current() == host:
                (self.folder / "current-profile").unlink(missing_ok=True)
        except OSError as e:
            raise BadAsk(f"{e.filename} cannot be removed: {e.strerror}") from e


def _patterns(host: str) -> tuple[str, ...]:
    """What known_hosts calls *host* and what lies below it, at any port."""
    if ":" in host or host.replace(".", "").isdecimal():
        return (host, f"[{host}]:*")
    return (host, f"[{host}]:*", f"*.{host}", f"[*.{host}]:*")


#: The keys of a profile's file, and what stands there.
_FIELDS: dict[str, type] = {
    one.name: bool if isinstance(one.default, bool) else str for one in Profile.__attrs_attrs__
}
