"""Tests for `tlsgate.protocols.web.asked`: what is told of the auth service's answers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.web.asked import LOCKED, SENTENCES, reason_of, sentence, told


class Answering:
    """As much of a request as `told` touches."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def setHeader(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def of(status: int, error: Any) -> tuple[str | None, list[tuple[bytes, bytes]]]:
    """What is told of an error, and the headers that it gives."""
    answering = Answering()
    return told(answering, status, {"error": error}), answering.headers  # type: ignore[arg-type]


class ToldTests(SynchronousTestCase):
    """Tests for `told`, `sentence` and `reason_of`."""

    def test_waits(self) -> None:
        """A wait is told in the auth service's words, and to programs where it has a number."""
        message = {"message": "too many failed attempts: try again in 1 s"}
        words = "Too many failed attempts: try again in 1 s."
        self.assertEqual(of(429, message), (words, []))
        self.assertEqual(of(429, {**message, "seconds": 0.2}), (words, [(b"Retry-After", b"1")]))
        strange: tuple[Any, ...] = ({}, None, "x")
        for error in strange:
            found, _ = of(429, error)
            self.assertEqual(found, "There were too many failed attempts. Wait a little.")

    def test_others(self) -> None:
        """What no page can mend has a sentence; everything else is the page's own to say."""
        self.assertEqual(of(503, {"reason": "unreachable"}), (SENTENCES[503], []))
        self.assertEqual(of(403, {"reason": "locked", "message": "x"}), (LOCKED, []))
        for status in (400, 401, 403, 500):
            self.assertEqual(of(status, {"reason": "other", "message": "x"}), (None, []))

    def test_sentence(self) -> None:
        """Words begin with a capital, end with one stop, and are not endless."""
        self.assertEqual(sentence({"message": "it is over."}), "It is over.")
        self.assertEqual(sentence({}), "")
        self.assertEqual(len(sentence({"message": "x" * 1000})), 301)

    def test_reason(self) -> None:
        """An answer without an error has no reason."""
        strange: tuple[dict[str, Any], ...] = ({}, {"error": None}, {"error": {}}, {"error": []})
        for said in strange:
            self.assertEqual(reason_of(said), "")
