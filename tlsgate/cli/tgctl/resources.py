"""Resources of a cluster: how they are named, fetched a page at a time, and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from tlsgate.cli.door import Asks
from tlsgate.errors import BadAsk

#: What `all` means, in the order in which they can be created again.
ALL = (
    "role",
    "user",
    "token",
    "lock",
    "cluster_networking_config",
    "cluster_auth_preference",
    "cert_authority",
)
#: A page of a list; the API gives no larger one.
PAGE = 1000


def path_of(kind: str, name: str | None = None) -> str:
    """The path of a kind, or of one resource."""
    path = f"/v1/resources/{quote(kind, safe='')}"
    return path if name is None else f"{path}/{quote(name, safe='')}"


def parse(text: str) -> tuple[str, str | None]:
    """The kind and the name of KIND or KIND/NAME.

    Raises:
        BadAsk: it is neither.
    """
    kind, slash, name = text.partition("/")
    if not kind or (slash and not name):
        raise BadAsk(f"{text!r} is neither KIND nor KIND/NAME")
    return kind, name or None


def fetch(api: Asks, kind: str, name: str | None = None) -> Iterator[dict[str, Any]]:
    """The resource of that name, or all of the kind; each page when it is wanted."""
    if name is not None:
        yield api.ask("GET", path_of(kind, name))
        return
    after = ""
    while True:
        query = {"limit": str(PAGE), **({"after": after} if after else {})}
        page = api.ask("GET", path_of(kind), query)
        yield from page["items"]
        following = page.get("next")
        if not following or following == after:
            return
        after = following


def name_of(resource: Mapping[str, Any]) -> str:
    """The name of a resource that the API gave."""
    return str(resource.get("metadata", {}).get("name", ""))


def spec_of(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of a resource that the API gave."""
    spec = resource.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def put(api: Asks, resource: Mapping[str, Any], **flags: bool) -> dict[str, Any]:
    """Write *resource*; gives it as it is then."""
    kind = str(resource["kind"])
    query = {name: "1" for name, value in flags.items() if value}
    # A setting that a cluster has one of may leave its name out; its kind will do.
    answer = api.ask("PUT", path_of(kind, name_of(resource) or kind), query, body=dict(resource))
    return dict(answer)
