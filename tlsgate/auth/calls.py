"""The values of the API: what is asked, what is answered, and the verbs between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

from tlsgate.auth.bodies import Body, Query
from tlsgate.auth.parts import Parts
from tlsgate.auth.principal import Principal
from tlsgate.auth.rights import Rights

#: Who may come to a verb at all; roles and guards decide afterwards.
#: anyone: before a login too. known: a user, a host or the admin socket. user: also the
#: socket. host: any joined one, and the socket. gateway: the same, of that system role.
Who = Literal["anyone", "known", "user", "host", "gateway", "local"]


@frozen(kw_only=True)
class Ask:
    """One question.

    Attributes:
        path: as in a URL: names in it are percent-encoded.
        body: a JSON value as `strict.read_json` gives it; None: there is none.
        address: of the client where a gateway asks on its behalf; else the principal's.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict)
    body: Any = field(default=None, repr=False)
    address: str | None = None


@frozen(kw_only=True)
class Reply:
    """One answer: an HTTP status, JSON types, and headers beside the usual ones."""

    status: int
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Call:
    """One question on its way: who asks, what, and all that is needed to answer it.

    Attributes:
        names: what stands in the path's braces.
        body: a value of the verb's body model, or None.
        query: a value of the verb's query model.
    """

    parts: Parts
    principal: Principal
    rights: Rights
    names: Mapping[str, str]
    body: Any = field(repr=False)
    query: Any
    address: str | None

    def emit(
        self,
        event: str,
        more: Mapping[str, object] | None = None,
        *,
        success: bool = True,
        **fields: object,
    ) -> None:
        """Record *event* under the name of who asks, with *fields* and *more* of them."""
        told: dict[str, object] = {
            "cluster_name": self.parts.cluster,
            "user": str(self.principal),
            "success": success,
        }
        if self.address is not None:
            told["addr.remote"] = self.address
        self.parts.audit.emit(event, {**told, **fields, **(more or {})})


@frozen(kw_only=True)
class Verb:
    """One thing that can be asked.

    Attributes:
        name: "users.create"; the operation in the OpenAPI file.
        path: with names in braces: "/v1/users/{name}/reset".
        summary: one sentence for the OpenAPI file.
        reply: the name of the answer's schema in `answers`.
        changes: whether it may change anything that is kept.
        body: None: there is no body.
        raw_body: the body is any JSON; the verb reads it.
        stream: the answer is lines without end; see `Api.watch`.
    """

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    who: Who
    summary: str
    answer: Callable[[Call], Awaitable[Any]]
    reply: str
    changes: bool = False
    body: type[Body] | None = None
    raw_body: bool = False
    query: type[Query] = Query
    stream: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The path in pieces."""
        return tuple(self.path.split("/")[1:])


#: The media type of everything but a watch.
JSON: Final = "application/json"
