"""The API's description in OpenAPI 3.1, made from the table of verbs.

docs/openapi.yaml is this, written out; a test holds the two equal.
Format: https://spec.openapis.org/oas/v3.1.0.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tlsgate.auth import answers, bodies
from tlsgate.auth.authority import TYPES
from tlsgate.auth.calls import Verb
from tlsgate.auth.kinds import KINDS
from tlsgate.auth.strict import BODY_BYTES

_REF: Final = "#/components/schemas/{model}"

#: Status to why, for every verb.
_REFUSALS: Final[Mapping[str, str]] = {
    "400": "What is asked makes no sense; `problems` has each place.",
    "401": "The login, the link or the token is not valid.",
    "403": "No role allows it, or a lock is in force.",
    "404": "There is no such thing.",
    "405": "The path takes other methods.",
    "409": "It exists, is used, has changed meanwhile, or would break something.",
    "413": "The body is too long.",
    "415": "The body is no JSON.",
    "429": "Too many failed logins; see Retry-After.",
    "503": "The store or the audit trail cannot be written, or all hands are busy; ask again.",
}

_WHO: Final[Mapping[str, str]] = {
    "anyone": "Anybody may ask.",
    "known": "Users and hosts may ask.",
    "user": "Users may ask; where it is about others, a role has to allow it.",
    "host": "Hosts of the cluster may ask.",
    "gateway": "Gateways of the cluster may ask.",
    "local": "Only the admin socket may ask.",
}

_PATH_NAMES: Final[Mapping[str, Mapping[str, Any]]] = {
    "kind": {"type": "string", "maxLength": 64, "examples": list(KINDS)},
    "name": {"type": "string", "minLength": 1, "maxLength": 128},
    "type": {"type": "string", "enum": list(TYPES)},
}

_DESCRIPTION: Final = f"""\
One API behind three doors: the admin socket of the auth host, the name auth.<public address>,
and the ALPN token tlsgate-auth; the latter two ask for a certificate of the cluster. What
needs none is also served under tlsgate-join and on the web port.

A body is JSON of at most {BODY_BYTES} bytes, without the same name twice in one object.
Names that a body or a query does not know are refused; answers may gain names.
"""


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Give the whole description."""
    from tlsgate.auth.api import TABLE

    paths: dict[str, Any] = {}
    for verb in TABLE:
        paths.setdefault(verb.path, {})[verb.method.lower()] = _operation(verb)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tlsgate",
            "version": "1",
            "summary": "The API of tlsgate's auth service.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {
                "url": "https://auth.{public}",
                "variables": {"public": {"default": "gate.example.com"}},
            }
        ],
        "security": [{"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(TABLE),
            "responses": {f"Status{status}": _refusal(why) for status, why in _REFUSALS.items()},
            "securitySchemes": {
                "certificate": {
                    "type": "mutualTLS",
                    "description": "Of the cluster's user or host authority.",
                }
            },
        },
    }


def _operation(verb: Verb) -> dict[str, Any]:
    group = verb.path.split("/")[2]
    kind = "application/jsonl" if verb.stream else "application/json"
    reply = {"$ref": _REF.format(model=verb.reply)}
    operation: dict[str, Any] = {
        "operationId": verb.name,
        "summary": verb.summary,
        "description": _WHO[verb.who],
        "tags": [group],
        "responses": {
            "200": {"description": "Done.", "content": {kind: {"schema": reply}}},
            **{status: {"$ref": f"#/components/responses/Status{status}"} for status in _REFUSALS},
        },
    }
    if verb.who == "anyone":
        operation["security"] = []
    if parameters := _parameters(verb):
        operation["parameters"] = parameters
    if verb.body is not None or verb.raw_body:
        model = "Written" if verb.raw_body or verb.body is None else verb.body.__name__
        if verb.body is bodies.Body:
            schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
        else:
            schema = {"$ref": _REF.format(model=_input(model))}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _refusal(why: str) -> dict[str, Any]:
    return {
        "description": why,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }


def _parameters(verb: Verb) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": word[1:-1],
            "in": "path",
            "required": True,
            "schema": dict(_PATH_NAMES[word[1:-1]]),
        }
        for word in verb.words
        if word.startswith("{")
    ]
    schema = verb.query.model_json_schema()
    for name, told in schema.get("properties", {}).items():
        told = {key: value for key, value in told.items() if key != "title"}
        description = told.pop("description", None)
        parameter = {"name": name, "in": "query", "required": False, "schema": _no_null(told)}
        if description:
            parameter["description"] = description
        found.append(parameter)
    return found


def _no_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not there is absent, not null."""
    if "anyOf" in schema:
        rest = [one for one in schema["anyOf"] if one != {"type": "null"}]
        if len(rest) == 1:
            return dict(rest[0])
    return {key: value for key, value in schema.items() if value is not None}


def _input(model: str) -> str:
    """Bodies have a prefix where an answer has their name."""
    return model if model == "Written" or not hasattr(answers, model) else f"{model}Body"


def _schemas(table: tuple[Verb, ...]) -> dict[str, Any]:
    replies: set[type[BaseModel]] = {getattr(answers, verb.reply) for verb in table}
    replies |= {answers.Refusal, answers.Written}
    taken: set[type[BaseModel]] = {
        verb.body for verb in table if verb.body is not None and verb.body is not bodies.Body
    }
    found: dict[str, Any] = {}
    for models, name_of in ((replies, str), (taken, _input)):
        ordered = sorted(models, key=lambda model: model.__name__)
        _, schema = models_json_schema(
            [(model, "validation") for model in ordered], ref_template=_REF
        )
        for name, told in schema["$defs"].items():
            found[name_of(name)] = _plain(told)
    return dict(sorted(found.items()))


def _plain(schema: Any) -> Any:
    """A schema without the titles that repeat its names."""
    if isinstance(schema, dict):
        return {
            key: _plain(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema
