"""The nodes of the cluster, as the API tells of them, and the way to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlsgate.cli.show import plain
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.sshconf import full_name
from tlsgate.cli.tgsh.way import told, way_now
from tlsgate.core.sshway import SshWay
from tlsgate.errors import BadAsk, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

    from tlsgate.cli.door import Asks
    from tlsgate.cli.tgsh.home import Profile


def place_for(call: Call, cluster: str | None = None) -> Place:
    """The files of the login that is meant, which is good now.

    Raises:
        NotLoggedIn: nobody is logged in there.
        BadAsk: an identity file is no login; *cluster* is another.
    """
    if call.identity is not None:
        raise BadAsk(
            "this command needs the files of a login, and an identity file is one for itself: "
            "log in; `tgsh ssh` and `tgsh scp` take an identity file"
        )
    profile = call.logged_in().profile
    if cluster is not None and cluster != profile.cluster:
        raise BadAsk(
            f"{profile.web_proxy_addr} is the gateway of {profile.cluster}, not of {cluster}"
        )
    return place_in(call.profiles().folder, profile)


def place_in(folder: Path, profile: Profile) -> Place:
    """The files of *profile* among the profiles in *folder*."""
    routing = "multiplex" if profile.tls_routing_enabled else profile.ssh_proxy_addr
    port = int(profile.web_proxy_addr.rpartition(":")[2])
    return Place(str(folder), profile.host, port, profile.user, profile.cluster, routing)


def way_for(call: Call, place: Place) -> SshWay:
    """The way of SSH, by what the gateway answers now: what is written down outlives a minute.

    Raises:
        GateError: the gateway cannot be asked.
    """
    from tlsgate.cli.alerts import explained
    from tlsgate.cli.tgsh.way import PING_SECONDS

    try:
        way = way_now(place, afresh=True, ask=call.ask_ping, now=call.now)
    except OSError as e:
        raise explained(e, place.where, PING_SECONDS) from e
    call.trace(f"SSH takes the way {told(way)}")
    return way


def node_name(call: Call, host: str, place: Place) -> str:
    """The whole name of the node *host*, which may be labels that only one has.

    Raises:
        BadAsk: it is no name, or the labels fit no node, or several.
    """
    return full_name(one_node(call.api(), host.split(",")) if "=" in host else host, place)


def nodes(api: Asks, labels: Sequence[str] = (), search: str = "") -> list[dict[str, Any]]:
    """The nodes that the user may reach, with these labels and words.

    Raises:
        BadAsk: a label is none.
        GateError: the API refuses, or is not there.
    """
    for one in labels:
        name, equals, value = one.partition("=")
        if not (name and equals and value) or "," in one:
            raise BadAsk(f"{one!r} is no label: write name=value")
    query = {"labels": ",".join(labels), "search": search}
    answer = api.ask("GET", "/v1/me/nodes", {name: text for name, text in query.items() if text})
    try:
        found = [
            {
                "name": str(node["name"]),
                "hostname": str(node.get("hostname") or ""),
                "labels": {str(k): str(v) for k, v in (node.get("labels") or {}).items()},
                "addresses": [str(one) for one in node.get("addresses") or ()],
                "logins": [str(one) for one in node.get("logins") or ()],
            }
            for node in answer["nodes"]
        ]
    except (LookupError, TypeError, AttributeError) as e:
        raise Unreachable("the cluster", "its list of nodes is none") from e
    return sorted(found, key=lambda node: str(node["name"]))


def one_node(api: Asks, labels: Sequence[str]) -> str:
    """The name of the one node with these labels.

    Raises:
        BadAsk: there is none, or there are several.
    """
    found = [str(node["name"]) for node in nodes(api, labels)]
    words = plain(",".join(labels))
    if not found:
        raise BadAsk(f"no node has the labels {words}: `tgsh ls` shows those that you may reach")
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
        raise BadAsk(f"{len(found)} nodes have the labels {words}; name one of {plain(shown)}")
    return found[0]
