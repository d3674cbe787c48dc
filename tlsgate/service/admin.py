"""The admin socket: HTTP/1.1 and JSON over DATA/admin.sock, for tgctl and scripts.

What is asked about the daemon is answered here; all else is the cluster's API, where the
auth service is in this process, and whoever may come here may do everything there.

1. `AdminService` opens the socket, mode 0600. It binds a name of its own and renames it
   over admin.sock: one left behind by a killed daemon is replaced, and in an upgrade the
   new process takes the name at once while the old one still answers who dialled it.
2. For each request the kernel names the peer; root and the daemon's own user may ask.
3. `AdminApi` finds the method of `IDaemon` that answers and turns errors into JSON.
4. What changes the daemon runs one at a time and is audited as `local:<uid>`.

An answer is `{"error": {reason, fault, message, problems}}` unless its status is 200.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import Interface

from tlsgate.config.adminsocket import admin_socket, short_name
from tlsgate.errors import (
    BadAsk,
    BadSettings,
    CannotListen,
    Fault,
    Forbidden,
    GateError,
    Problem,
)
from tlsgate.interfaces import IAudit, IDaemon

#: The HTTP status of a refusal, by whose fault it is.
STATUS = {Fault.CLIENT: 400, Fault.OPERATOR: 409, Fault.TARGET: 502, Fault.GATE: 500}

#: socket(7): `struct ucred` of SO_PEERCRED is pid, uid, gid.
_UCRED = struct.Struct("=iII")

Query = Mapping[str, str]


@frozen
class _Verb:
    """One thing that can be asked: the answer's maker, and whether it changes the daemon."""

    answer: Callable[[IDaemon, Query], Awaitable[Any]]
    changes: bool = False


async def _explain(daemon: IDaemon, query: Query) -> Any:
    offered = query.get("alpn", "")
    return await daemon.explain(
        query.get("listener", "web"),
        query.get("sni") or None,
        [token for token in offered.split(",") if token],
        query.get("cert") or None,
    )


async def _reload(daemon: IDaemon, query: Query) -> Any:
    return await daemon.reload(query.get("force") in ("1", "yes", "true"))


#: Path to method to what answers it.
VERBS: Mapping[str, Mapping[str, _Verb]] = {
    "/v1/status": {"GET": _Verb(lambda daemon, _: daemon.status())},
    "/v1/listeners": {"GET": _Verb(lambda daemon, _: daemon.listeners())},
    "/v1/connections": {"GET": _Verb(lambda daemon, _: daemon.connections())},
    "/v1/explain": {"GET": _Verb(_explain)},
    "/v1/reload": {"POST": _Verb(_reload, changes=True)},
    "/v1/upgrade": {"POST": _Verb(lambda daemon, _: daemon.upgrade(), changes=True)},
}


def peer_uid(request: Request) -> int:
    """The user at the other end of the socket that *request* came in on, as the kernel says."""
    handle = request.channel.transport.getHandle()  # type: ignore[union-attr]
    raw = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])


class Beside(Interface):
    """The cluster's API, for those who may use the admin socket."""

    def resource(uid_of: Callable[[Request], int]) -> Resource | None:
        """Give what answers; None while the auth service is not up.

        Args:
            uid_of: who asks; raises `Forbidden` where they may not.
        """


class BothApis(Resource):
    """The daemon's own paths, and the cluster's API beside them."""

    isLeaf = True

    def __init__(self, mine: AdminApi, beside: Any) -> None:
        super().__init__()
        self._mine = mine
        self._beside = beside

    def render(self, request: Request) -> int:
        """Pass *request* on (Twisted calls this)."""
        methods = VERBS.get(request.path.decode("latin-1"), {})
        other = None
        if request.method.decode("latin-1") not in methods:
            other = self._beside.resource(self._who)
        return (other or self._mine).render(request)

    def _who(self, request: Request) -> int:
        uid = self._mine.uid_of(request)
        if not self._mine.admits(uid):
            raise Forbidden(f"local:{uid}", "use the admin socket", "it is root's and the owner's")
        return uid


class AdminApi(Resource):
    """Every path of the admin socket."""

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        daemon: IDaemon,
        audit: IAudit | None = None,
        *,
        owner: int,
        uid_of: Callable[[Request], int] = peer_uid,
    ) -> None:
        super().__init__()
        self._daemon = daemon
        self._audit = audit
        self._owner = owner
        self.uid_of = uid_of
        self._turn = DeferredLock()

    def admits(self, uid: int) -> bool:
        """Whether that user of the machine may ask."""
        return uid in (0, self._owner)

    def render(self, request: Request) -> int:
        """Answer *request* (Twisted calls this)."""
        answering = Deferred.fromCoroutine(self._respond(request))
        answering.addErrback(lambda failure: self.log.failure("admin socket", failure=failure))
        return NOT_DONE_YET

    async def _respond(self, request: Request) -> None:
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        status, value = await self._answer(request)
        try:
            body = json.dumps(value)
        except (TypeError, ValueError):
            self.log.failure("admin socket: an answer is no JSON")
            status, body = 500, json.dumps(_BUG)
        if gone:
            return
        request.setResponseCode(status)
        request.setHeader("content-type", "application/json")
        request.setHeader("cache-control", "no-store")
        request.write(body.encode() + b"\n")
        request.finish()

    async def _answer(self, request: Request) -> tuple[int, Any]:
        uid = self.uid_of(request)
        if not self.admits(uid):
            self.log.warn("admin socket: refused uid {uid}", uid=uid)  # noqa: G010 -- Twisted's name
            return 403, error_json("door_closed", Fault.OPERATOR, "this user may not ask")
        path = request.path.decode("latin-1")
        methods = VERBS.get(path)
        if methods is None:
            return 404, error_json("bad_ask", Fault.OPERATOR, f"there is no {path}")
        method = request.method.decode("latin-1")
        verb = methods.get(method)
        if verb is None:
            request.setHeader("allow", ", ".join(methods))
            return 405, error_json("bad_ask", Fault.OPERATOR, f"{path} takes {', '.join(methods)}")
        try:
            query = _query(request)
            if not verb.changes:
                return 200, await verb.answer(self._daemon, query)
            return 200, await self._change(verb, path.rpartition("/")[2], query, uid)
        except GateError as e:
            return STATUS[e.fault], as_json(e)
        except Exception:
            self.log.failure("admin socket: {path} failed", path=path)
            return 500, _BUG

    async def _change(self, verb: _Verb, name: str, query: Query, uid: int) -> Any:
        """Run *verb* when no other change runs, and audit how it ended."""
        await self._turn.acquire()
        outcome = "failed"
        try:
            value = await verb.answer(self._daemon, query)
            outcome = "done"
            return value
        except GateError as e:
            outcome = e.reason
            raise
        finally:
            self._turn.release()
            if self._audit is not None:
                fields = {"identity": f"local:{uid}", "outcome": outcome}
                self._audit.emit(f"admin.{name}", fields)


def _query(request: Request) -> Query:
    """The query's fields, each given once.

    Raises:
        BadAsk: one is given twice or is no text.
    """
    found = {}
    for name, values in (request.args or {}).items():
        if len(values) != 1:
            raise BadAsk(f"{name.decode('latin-1')} is given {len(values)} times")
        try:
            found[name.decode()] = values[0].decode()
        except UnicodeDecodeError as e:
            raise BadAsk("a field of the query is not UTF-8") from e
    return found


def error_json(
    reason: str, fault: Fault, message: str, problems: tuple[Problem, ...] = ()
) -> dict[str, Any]:
    """A refusal in JSON types."""
    error: dict[str, Any] = {"reason": reason, "fault": fault.value, "message": message}
    if problems:
        error["problems"] = [
            {
                "file": problem.place.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "path": problem.path,
                "message": problem.message,
            }
            for problem in problems
        ]
    return {"error": error}


_BUG = error_json("error", Fault.GATE, "a bug of tlsgate; its log has the details")


def as_json(error: GateError) -> dict[str, Any]:
    """*error* in JSON types."""
    problems = tuple(error.problems) if isinstance(error, BadSettings) else ()
    return error_json(error.reason, error.fault, str(error), problems)


@frozen
class _Open:
    """A socket that is open.

    Attributes:
        own: the name that it was bound to; renamed since.
        identity: what tells whether the shared name is still its own.
        names: keeps the folder's descriptor for a long name.
    """

    port: IListeningPort
    own: Path
    identity: tuple[int, int] | None
    names: ExitStack


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class AdminService(Service):
    """The admin socket of one daemon; may be started again after it was stopped.

    Start it last, when the daemon is ready: in an upgrade starting takes the name over.
    Stopping removes the name only while it is still this process's own.

    Raises:
        CannotListen: on start; the socket cannot be opened.
    """

    name = "admin"

    def __init__(
        self,
        reactor: IReactorUNIX,
        daemon: IDaemon,
        data_dir: Path,
        audit: IAudit | None = None,
        beside: Any = None,
    ) -> None:
        self._reactor = reactor
        mine = AdminApi(daemon, audit, owner=os.geteuid())
        if beside is None:
            self._site = Site(mine)
        else:
            from tlsgate.auth.web import ApiSite

            self._site = ApiSite(BothApis(mine, beside), reactor)  # type: ignore[arg-type]
        self._site.displayTracebacks = False
        self._site.log = _no_access_log  # type: ignore[method-assign]  # tgctl is no visitor
        self._path = admin_socket(data_dir)
        self._open: _Open | None = None

    def startService(self) -> None:
        """Open the socket (Twisted calls this)."""
        super().startService()
        try:
            self._listen()
        except (OSError, CannotListenError) as e:
            raise CannotListen("admin", f"unix:{self._path}", str(e)) from e

    def _listen(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise FileExistsError(f"{self._path} is no socket")
        own = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        own.unlink(missing_ok=True)
        with ExitStack() as names:
            name = names.enter_context(short_name(own))
            # Between bind and chmod the socket has the umask's mode; give no one that moment.
            mask = os.umask(0o177)
            try:
                port = self._reactor.listenUNIX(name, self._site, mode=0o600)  # type: ignore[arg-type]  # a Site is one
            finally:
                os.umask(mask)
            own.rename(self._path)
            self._open = _Open(port, own, _identity(self._path), names.pop_all())

    async def _close(self) -> None:
        if self._open is None:
            return
        was, self._open = self._open, None
        with was.names:
            # The port removes the name that it was bound to, and fails where there is none.
            if _identity(self._path) == was.identity:
                self._path.rename(was.own)
            else:
                was.own.touch()
            stopped = was.port.stopListening()
            if stopped is not None:
                await stopped

    def stopService(self) -> Deferred[None]:
        """Close the socket (Twisted calls this)."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())


def _no_access_log(request: Request) -> None:
    """Log nothing: changes are audited, and the rest is somebody looking."""
