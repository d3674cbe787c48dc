"""The API's description: equal to the file, and true of every verb."""

from __future__ import annotations

from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests import openapi_page
from tlsgate.auth.api import TABLE
from tlsgate.auth.openapi import document


def refs(value: Any) -> set[str]:
    """Every reference in *value*."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(refs(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(refs(one) for one in value))
    return set()


class DocumentTests(SynchronousTestCase):
    """Tests for `document`."""

    def test_the_file_is_this(self) -> None:
        """docs/openapi.yaml is what the code says; `python -m tests.openapi_page` writes it."""
        self.assertEqual(openapi_page.PAGE.read_text(), openapi_page.made())
        self.assertEqual(yaml.safe_load(openapi_page.made()), document())

    def test_the_guide_has_these(self) -> None:
        """docs/api.md has each verb and each event as they are; the same command writes it."""
        page = openapi_page.GUIDE.read_text()
        self.assertEqual(page, openapi_page.guide(page))
        for verb in TABLE:
            self.assertIn(f"| `{verb.method} {verb.path}` |", page)

    def test_every_verb_is_there(self) -> None:
        """Each verb is an operation under its own name, with an answer and refusals."""
        operations = {
            operation["operationId"]: (path, method)
            for path, methods in document()["paths"].items()
            for method, operation in methods.items()
        }
        self.assertEqual(
            operations, {verb.name: (verb.path, verb.method.lower()) for verb in TABLE}
        )

    def test_references_lead_somewhere(self) -> None:
        """Each reference names a part that is there, and each part is used."""
        whole = document()
        for ref in refs(whole):
            found: Any = whole
            for word in ref.removeprefix("#/").split("/"):
                self.assertIn(word, found, ref)
                found = found[word]
        for section in ("schemas", "responses"):
            parts = {f"#/components/{section}/{name}" for name in whole["components"][section]}
            self.assertEqual(parts - refs(whole), set())

    def test_path_parameters(self) -> None:
        """Each name in a path is a parameter, and no other is (OpenAPI 3.1, Path Templating)."""
        for verb in TABLE:
            operation = document()["paths"][verb.path][verb.method.lower()]
            named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            self.assertEqual(named, {word[1:-1] for word in verb.words if word.startswith("{")})

    def test_strings_of_bodies_are_bounded(self) -> None:
        """S56: no body takes a text, a list or a mapping without an end."""
        schemas = document()["components"]["schemas"]
        for verb in TABLE:
            if verb.body is not None:
                for path, one in walk(schemas.get(verb.body.__name__, {}), verb.name):
                    if one.get("type") == "string" and not {"enum", "const"} & set(one):
                        self.assertTrue("maxLength" in one or "pattern" in one, path)
                    if one.get("type") == "array":
                        self.assertIn("maxItems", one, path)
                    if one.get("type") == "object" and "properties" not in one:
                        self.assertIn("maxProperties", one, path)


def walk(schema: Any, path: str) -> Any:
    """Every schema in *schema*, with where it stands."""
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            yield from walk(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from walk(value, f"{path}.{index}")
