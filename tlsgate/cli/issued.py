"""What the cluster has issued, and the files that it becomes.

`file` is all in one, for `tgsh -i` and `tgctl -i`; `openssh` is for ssh, `tls` for whatever
takes PEM files, `pkcs12` for browsers and Java.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tlsgate.cli.faults import ClockWrong
from tlsgate.cli.files import write_private
from tlsgate.cli.newkey import NewKey
from tlsgate.errors import BadAsk, Unreachable

#: A certificate is issued with a start of 60 s ago (RFC 5280 knows no tolerance); what is
#: left when both clocks are right is the time that the answer took.
_BACK_SECONDS = 60.0
#: From here on a difference is worth a word.
SKEW_SECONDS = 60.0

_SSH_LINE = re.compile(r"[\w@.-]+ [A-Za-z0-9+/=]+(?: [^\r\n]*)?")


@frozen
class Issued:
    """An answer of /v1/login, /v1/sign or /v1/me/certificates."""

    user: str
    cluster: str
    roles: tuple[str, ...]
    certificate: str  #: PEM
    ssh_certificate: str | None
    not_before: float
    not_after: float
    host_cas: tuple[str, ...] = field(repr=False)  #: PEM
    ssh_host_cas: tuple[str, ...] = field(repr=False)  #: lines

    @property
    def roots(self) -> str:
        """The cluster's host authorities, PEM."""
        return "".join(pem.strip() + "\n" for pem in self.host_cas)


def read_issued(answer: Any, gateway: str) -> Issued:
    """Read an answer.

    Raises:
        Unreachable: it is not what a cluster says.
    """
    try:
        cas = answer["cas"]
        ssh = answer.get("ssh_certificate")
        made = Issued(
            user=str(answer["user"]),
            cluster=str(answer["cluster"]),
            roles=tuple(map(str, answer["roles"])),
            certificate=str(answer["certificate"]),
            ssh_certificate=None if ssh is None else str(ssh).strip(),
            not_before=float(answer["not_before"]),
            not_after=float(answer["not_after"]),
            host_cas=tuple(map(str, cas["host"])),
            ssh_host_cas=tuple(str(line).strip() for line in cas["ssh_host"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise Unreachable(gateway, "its answer is none of a tlsgate cluster") from e
    lines = [*made.ssh_host_cas, *filter(None, (made.ssh_certificate,))]
    if not all(_SSH_LINE.fullmatch(line) for line in lines):
        raise Unreachable(gateway, "its answer has an SSH key that is none")
    return made


def check_clock(issued: Issued, now: float) -> str | None:
    """See that what was just issued is good by this machine's clock.

    Returns:
        A warning where the clocks differ, and it does no harm yet.

    Raises:
        ClockWrong: it is not good yet, or not any more.
    """
    theirs = issued.not_before + _BACK_SECONDS
    apart = _apart(abs(now - theirs))
    if now < issued.not_before:
        raise ClockWrong(f"this machine's clock is {apart} behind the cluster's")
    if now >= issued.not_after:
        raise ClockWrong(f"this machine's clock is {apart} ahead of the cluster's")
    if abs(now - theirs) > SKEW_SECONDS:
        return f"the clocks of this machine and the cluster are {apart} apart"
    return None


def _apart(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def write_out(
    issued: Issued, key: NewKey, how: str, name: Path, *, overwrite: bool, web: str = ""
) -> list[Path]:
    """Write *issued* and its key as *how* says, mode 0600; gives the files.

    Args:
        web: PEM of who has signed the web certificate, where the machine does not know them.

    Raises:
        BadAsk: a file is there already, or cannot be written.
    """
    contents = dict(_contents(issued, key, how, name))
    if how == "tls" and web:
        contents[f"{name}.web.cas"] = web.encode()
    return write_files(contents, overwrite=overwrite)


def write_files(contents: Mapping[str, bytes], *, overwrite: bool) -> list[Path]:
    """Write each file, mode 0600; gives them.

    Raises:
        BadAsk: one is there already, or cannot be written.
    """
    files = {Path(file): content for file, content in contents.items()}
    there = [str(file) for file in files if file.exists()]
    if there and not overwrite:
        raise BadAsk(f"{', '.join(there)} is there already; --overwrite replaces it")
    for file, content in files.items():
        try:
            write_private(file.absolute(), content)
        except OSError as e:
            raise BadAsk(f"{file} cannot be written: {e.strerror}") from e
    return list(files)


def _contents(issued: Issued, key: NewKey, how: str, name: Path) -> Mapping[str, bytes]:
    certificate = issued.certificate.strip() + "\n"
    ssh = f"{issued.ssh_certificate}\n" if issued.ssh_certificate else ""
    hosts = f"*.{issued.cluster},{issued.cluster}"
    known = "".join(f"@cert-authority {hosts} {line}\n" for line in issued.ssh_host_cas)
    match how:
        case "file":
            whole = key.private_pem.decode() + ssh + certificate + issued.roots + known
            return {str(name): whole.encode()}
        case "openssh":
            if not ssh:
                raise BadAsk("the cluster has issued no SSH certificate")
            return {str(name): key.private_pem, f"{name}-cert.pub": ssh.encode()}
        case "tls":
            return {
                f"{name}.key": key.private_pem,
                f"{name}.crt": certificate.encode(),
                f"{name}.cas": issued.roots.encode(),
            }
        case _:
            return {f"{name}.p12": _pkcs12(issued, key)}


def _pkcs12(issued: Issued, key: NewKey) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        NoEncryption,
        load_pem_private_key,
        pkcs12,
    )

    private = load_pem_private_key(key.private_pem, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return pkcs12.serialize_key_and_certificates(
        issued.user.encode(),
        private,
        x509.load_pem_x509_certificate(issued.certificate.encode()),
        x509.load_pem_x509_certificates(issued.roots.encode()),
        NoEncryption(),
    )
