"""The API behind its three doors: a question in, an answer out, never an exception.

1. The path and the method name a verb; an unknown one is told so.
2. The verb says who may come at all; a lock or a lost user ends it here.
3. The query and the body become values of the verb's models, or every problem is told.
4. The verb answers: it asks the rights, does the work, and emits its audit event.
5. What was changed is answered when the trail has it on the disk.

Nothing here knows of HTTP beyond its status numbers; `auth.web` is the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from twisted.logger import Logger

from tlsgate import errors
from tlsgate.auth import (
    verbs_account,
    verbs_agent_events,
    verbs_agents,
    verbs_apps,
    verbs_gateway,
    verbs_ledger,
    verbs_me,
    verbs_migration,
    verbs_moves,
    verbs_open,
    verbs_operator,
    verbs_resources,
    verbs_targets,
    verbs_web,
)
from tlsgate.auth.bodies import take
from tlsgate.auth.calls import Ask, Call, Reply, Verb
from tlsgate.auth.parts import Parts
from tlsgate.auth.principal import GATEWAY, Principal
from tlsgate.auth.rights import Rights, rights_of
from tlsgate.auth.watching import Heard, StateWatch, feed_of
from tlsgate.errors import BadAsk, BadResource, Fault, Forbidden, GateError, LockedOut
from tlsgate.interfaces import IWatch

__all__ = ["STATUS", "TABLE", "Api", "Ask", "Parts", "Reply", "Verb", "refusal"]

#: Every verb there is.
TABLE: Final[tuple[Verb, ...]] = (
    *verbs_open.VERBS,
    *verbs_me.VERBS,
    *verbs_resources.VERBS,
    *verbs_operator.VERBS,
    *verbs_gateway.VERBS,
    *verbs_ledger.VERBS,
    *verbs_migration.VERBS,
    *verbs_moves.VERBS,
    *verbs_agents.VERBS,
    *verbs_agent_events.VERBS,
    *verbs_targets.VERBS,
    *verbs_apps.VERBS,
    *verbs_web.VERBS,
    *verbs_account.VERBS,
)

#: The status of an error; those that are not named go by whose fault it is.
STATUS: Final[Mapping[type[GateError], int]] = {
    errors.BadAsk: 400,
    errors.LoginFailed: 401,
    errors.BadToken: 401,
    errors.Forbidden: 403,
    errors.Locked: 403,
    errors.DoorClosed: 403,
    errors.Untrusted: 403,
    errors.NoSuch: 404,
    errors.NotServed: 404,
    errors.Conflict: 409,
    errors.Exists: 409,
    errors.Compacted: 409,
    errors.InUse: 409,
    errors.WouldBreak: 409,
    errors.StepNotSafe: 409,
    errors.StepRuns: 409,
    errors.NeedsConfirm: 409,
    errors.LockedOut: 429,
    errors.TooMany: 429,
    errors.StoreFailed: 503,
    errors.Unreachable: 503,
    errors.AuditFailed: 503,
    errors.BadSeal: 503,
}
_BY_FAULT = {Fault.CLIENT: 400, Fault.OPERATOR: 409, Fault.TARGET: 503, Fault.GATE: 500}

#: Longer paths name nothing of ours.
_PATH_CHARACTERS = 512


def error_json(
    reason: str, fault: Fault, message: str, problems: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """A refusal in JSON types."""
    error: dict[str, Any] = {"reason": reason, "fault": fault.value, "message": message}
    if problems:
        error["problems"] = [{"path": path, "message": why} for path, why in problems]
    return {"error": error}


BUG: Final = error_json("error", Fault.GATE, "a bug of tlsgate; its log has the details")


def status_of(kind: type[GateError]) -> int:
    """The status that errors of *kind* are answered with."""
    return next((STATUS[one] for one in kind.__mro__ if one in STATUS), _BY_FAULT[kind.fault])


def refusal(error: GateError) -> Reply:
    """Answer with *error*."""
    status = status_of(type(error))
    if status == 500:
        return Reply(status=500, body=BUG)
    problems = tuple(error.problems) if isinstance(error, BadResource) else ()
    headers = {}
    body = error_json(error.reason, error.fault, str(error), problems)
    if isinstance(error, LockedOut):
        seconds = max(1, round(error.seconds))
        headers["retry-after"] = str(seconds)
        body["error"]["seconds"] = seconds
    return Reply(status=status, body=body, headers=headers)


class Api:
    """Answers every question that the doors let through.

    Args:
        parts: what the answers are made from.
    """

    log = Logger()

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._feed = feed_of(parts)
        #: Called when the API answers nobody any more.
        self._endings: dict[Callable[[], None], None] = {}
        #: How many questions are being answered.
        self.running = 0

    def on_end(self, ending: Callable[[], None]) -> Callable[[], None]:
        """Call *ending* when the API answers nobody any more; gives what takes that back."""
        self._endings[ending] = None
        return lambda: self._endings.pop(ending, None)

    def end(self) -> None:
        """Answer nobody any more: another process does, and who asks again finds that one."""
        endings, self._endings = self._endings, {}
        for ending in endings:
            ending()

    async def call(self, principal: Principal, ask: Ask) -> Reply:
        """Answer *ask*; never raises, and every failure of ours has the same words."""
        try:
            verb, names = find(ask)
        except GateError as e:
            return refusal(e)
        if isinstance(verb, Reply):
            return verb
        self.running += 1
        try:
            return await self._answer(principal, ask, verb, names)
        except GateError as e:
            reply = refusal(e)
            if reply.status == 500:
                self.log.failure("api: {verb} failed", verb=verb.name)
            return reply
        except Exception:
            self.log.failure("api: {verb} failed", verb=verb.name)
            return Reply(status=500, body=BUG)
        finally:
            self.running -= 1

    def watch(self, principal: Principal, since: int | None, heard: Heard) -> IWatch:
        """Tell *heard* of the cluster's state and its changes; see `watching`.

        Whoever has no right to hear gets a line of the kind "end", and no other.

        Args:
            since: the revision of the last line that was heard; None: begin anew.
        """
        return StateWatch(self.parts, principal, since, heard, self._feed)

    async def _answer(
        self, principal: Principal, ask: Ask, verb: Verb, names: Mapping[str, str]
    ) -> Reply:
        _admit(principal, verb)
        rights = Rights(principal=principal)
        if verb.who != "anyone":
            rights = await rights_of(principal, self.parts)
        call = Call(
            parts=self.parts,
            principal=principal,
            rights=rights,
            names=names,
            query=take(verb.query, ask.query),
            body=_body(verb, ask.body),
            address=ask.address or principal.address,
        )
        if verb.changes and self.parts.audit_refuses():
            await self.parts.audit_kept()  # nothing is changed while nobody can tell of it
        try:
            value = await verb.answer(call)
        except Forbidden as e:
            call.emit("api.denied", success=False, verb=verb.name, error=e.why)
            raise
        if verb.changes:
            await self.parts.audit_kept()
        return value if isinstance(value, Reply) else Reply(status=200, body=value)


def find(ask: Ask) -> tuple[Verb | Reply, Mapping[str, str]]:
    """Find the verb that *ask* means and what its path names; or what to answer without.

    Raises:
        BadAsk: the path cannot be read.
    """
    if len(ask.path) > _PATH_CHARACTERS:
        raise BadAsk(f"the path is longer than {_PATH_CHARACTERS} characters")
    try:
        words = [unquote(word, errors="strict") for word in ask.path.split("/")[1:]]
    except UnicodeDecodeError as e:
        raise BadAsk("the path is not UTF-8") from e
    there: list[tuple[Verb, dict[str, str]]] = []
    for verb in TABLE:
        names = _match(verb.words, words)
        if names is not None:
            there.append((verb, names))
    if not there:
        reply = Reply(
            status=404, body=error_json("bad_ask", Fault.CLIENT, "there is nothing at this path")
        )
        return reply, {}
    for verb, names in there:
        if verb.method == ask.method:
            return verb, names
    methods = ", ".join(sorted({verb.method for verb, _ in there}))
    body = error_json("bad_ask", Fault.CLIENT, f"this path takes {methods}")
    return Reply(status=405, body=body, headers={"allow": methods}), {}


def _match(template: Sequence[str], words: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(words):
        return None
    names = {}
    for pattern, word in zip(template, words, strict=True):
        if pattern.startswith("{"):
            names[pattern[1:-1]] = word
        elif pattern != word:
            return None
    return names


def _admit(principal: Principal, verb: Verb) -> None:
    """Let in whom *verb* is for; roles decide later.

    Raises:
        Forbidden: it is for others.
    """
    kind = principal.kind
    if verb.who == "anyone" or (kind == "local"):
        return
    may = {
        "known": kind in ("user", "host"),
        "user": kind == "user",
        "host": kind == "host",
        "gateway": kind == "host" and GATEWAY in principal.system_roles,
        "local": False,
    }
    if not may[verb.who]:
        why = _FOR[verb.who] if kind != "nobody" else "this needs a certificate of this cluster"
        raise Forbidden(str(principal), verb.name, why)


_FOR = {
    "known": "this is for users and hosts",
    "user": "this is for users",
    "host": "this is for hosts of the cluster",
    "gateway": "this is for gateways of the cluster",
    "local": "this is for the admin socket on the auth host",
}


def _body(verb: Verb, value: Any) -> Any:
    if verb.raw_body:
        return value
    if verb.body is not None:
        return take(verb.body, value)
    if value not in (None, {}):
        raise BadAsk("this takes no body")
    return None
