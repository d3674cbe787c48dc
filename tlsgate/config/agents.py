"""What an agent's services mean: what it offers, and by which gateways it joins.

An agent is a process of its own: it has `ssh_service`, `db_service` and `app_service` in any
mix, and neither auth_service nor proxy_service.
"""

from __future__ import annotations

from typing import Final

from tlsgate.config import known, ports, schema, targets
from tlsgate.config.cluster import address, join_of
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings
from tlsgate.config.settings import AgentSettings, Join, OfferSettings
from tlsgate.core.claims import NAME_BYTES
from tlsgate.core.names import normal
from tlsgate.errors import BadName

#: The services of an agent, and the system role that each of them has in the cluster.
_ROLES: Final = {"ssh_service": "node", "db_service": "db", "app_service": "app"}
SERVICES: Final = tuple(_ROLES)
_OFF: Final = {"enabled": "no"}
_BESIDE: Final = (
    "an agent runs in a process of its own: write auth_service and proxy_service "
    "`enabled: no` in its file"
)


def is_agent(found: known.File) -> bool:
    """Whether the file is that of an agent, and of nothing else."""
    if found.auth_service.enabled or found.proxy_service.enabled:
        return False
    return any(_on(getattr(found, name)) for name in SERVICES)


def read_as_agent(found: known.File) -> known.File:
    """*found*, without the auth service and the gateway that an agent's file does not name.

    In v3 proxy_server says that this is an agent; older files have to switch both off.
    """
    if found.version != "v3" or not found.teleport.wrote("proxy_server"):
        return found
    if not any(_on(getattr(found, name)) for name in SERVICES):
        return found
    off: dict[str, schema.AuthService | schema.ProxyService] = {}
    if not found.wrote("auth_service"):
        off["auth_service"] = schema.AuthService.model_validate(_OFF)
    if not found.wrote("proxy_service"):
        off["proxy_service"] = schema.ProxyService.model_validate(_OFF)
    return found.model_copy(update=off)


def _on(service: known.Service | None) -> bool:
    return service is not None and service.enabled is not False


def check_services(found: known.File, findings: Findings) -> None:
    """Say which agents' services do nothing, beside an auth service or a gateway."""
    if is_agent(found):
        return
    for name in SERVICES:
        service: known.Service | None = getattr(found, name)
        if service is None or not findings.trusts(name, "enabled"):
            continue
        if service.enabled:
            findings.wrong((name, "enabled"), _BESIDE)
        elif service.enabled is None:
            findings.warn((name,), f"does nothing here: {_BESIDE}")


def agent(
    found: known.File, node: str, files: Files, findings: Findings
) -> tuple[AgentSettings | None, Join | None]:
    """What the agent of *found* is, and where it joins; None where it is none."""
    if not is_agent(found):
        return None, None
    try:
        if normal(node) != node or len(node) > NAME_BYTES:
            raise BadName(node, f"an agent's name has at most {NAME_BYTES} lower-case letters")
    except BadName as error:
        findings.wrong(("teleport", "nodename"), f"{node}: {error.why}; write one, such as db1")
    offers: list[OfferSettings] = []
    sshd_log = "none"
    if (ssh := found.ssh_service) is not None and _on(ssh):
        offers.append(_node(ssh, node, findings))
        sshd_log = ssh.sshd_log
    for name, entries, read in (
        ("db_service", "databases", targets.databases),
        ("app_service", "apps", targets.apps),
    ):
        service = getattr(found, name)
        if not _on(service):
            continue
        offers += read(service, files, findings)
        if not getattr(service, entries) and findings.trusts(name, entries):
            findings.warn((name,), f"offers nothing: there are no {entries}")
    for count, most, what in (
        (len(offers), targets.ENTRIES, "targets"),
        (targets.size(offers), targets.BYTES, "bytes with all labels"),
    ):
        if count > most:
            at = next(name for name in reversed(SERVICES) if _on(getattr(found, name)))
            findings.wrong((at,), f"the agent offers {count} {what}; {most} are the most", key=True)
    roles = tuple(kind for name, kind in _ROLES.items() if _on(getattr(found, name)))
    made = AgentSettings(offers=tuple(offers), roles=roles, sshd_log=sshd_log)
    return made, _join(found, findings)


def _node(ssh: known.SshService, node: str, findings: Findings) -> OfferSettings:
    """What ssh_service offers."""
    wanted = (ssh.sshd_addr, *ssh.targets)
    addresses = tuple(dict.fromkeys(address(one, ports.SSHD) for one in wanted))
    if len(addresses) > targets.ENTRIES:
        findings.wrong(
            ("ssh_service", "targets"), f"are {len(addresses)}; {targets.ENTRIES} are the most"
        )
    if ssh.sshd_log not in ("journal", "none") and not ssh.sshd_log.startswith("/"):
        findings.wrong(
            ("ssh_service", "sshd_log"), "is journal, none, or a file such as /var/log/auth.log"
        )
    offer = OfferSettings(
        kind="node",
        name=node,
        labels=ssh.labels,
        commands=targets.commands(ssh.commands, ssh.labels, ("ssh_service", "commands"), findings),
        addresses=addresses,
    )
    targets.bounded(offer, ("ssh_service", "labels"), findings)
    return offer


def _join(found: known.File, findings: Findings) -> Join | None:
    """By which gateways the agent joins."""
    teleport = found.teleport
    direct = teleport.auth_servers or tuple(filter(None, [teleport.auth_server]))
    servers: tuple[str, ...]
    if teleport.proxy_server is not None:
        servers = (address(teleport.proxy_server, ports.WEB),)
    else:
        servers = tuple(address(one, ports.AUTH) for one in direct)
    if not servers:
        if findings.trusts("version") and findings.trusts("teleport", "proxy_server"):
            key = "proxy_server" if found.version == "v3" else "auth_servers"
            at = next(name for name in SERVICES if _on(getattr(found, name)))
            findings.wrong((at,), f"needs teleport.{key}, the address of a gateway", key=True)
        return None
    return join_of(teleport, found.auth_service, servers, findings)
