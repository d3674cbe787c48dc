"""The API's JSON: what it refuses, quickly and with constant words."""

from __future__ import annotations

import contextlib
import json
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.strict import BODY_BYTES, DEPTH, read_json
from tlsgate.errors import BadAsk

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class ReadJsonTests(SynchronousTestCase):
    """Tests for `read_json`."""

    @given(VALUES)
    def test_gives_what_json_says(self, value: object) -> None:
        """What any encoder writes is read as it was meant, escaped or not."""
        for escaped in (True, False):
            self.assertEqual(read_json(json.dumps(value, ensure_ascii=escaped).encode()), value)

    @given(st.binary())
    def test_other_bytes(self, wire: bytes) -> None:
        """Whatever the bytes are, there is a value or our error."""
        with contextlib.suppress(BadAsk):
            read_json(wire)

    def test_refused(self) -> None:
        """Each text with two meanings is refused with the sentence that says why."""
        for wire, words in (
            (b'{"a":1,"a":2}', "the same name twice"),
            (b'{"x":{"a":1,"\\u0061":2}}', "the same name twice"),
            (b"NaN", "JSON does not know"),
            (b"[-Infinity]", "JSON does not know"),
            (b"1e999", "too large"),
            (b"-1e999", "too large"),
            (b"1" * 41, "too long"),
            (b"1." + b"0" * 40, "too long"),
            (b'"\\ud800"', "half a character"),
            (b'{"\\udc00":1}', "half a character"),
            (b'"\xed\xa0\x80"', "not UTF-8"),
            (b"\xff", "not UTF-8"),
            (b"", "no JSON"),
            (b"{} {}", "no JSON"),
            (b"\xef\xbb\xbf{}", "no JSON"),
            (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), "deeper than 32"),
            (b'"' + b"x" * BODY_BYTES + b'"', "longer than 1048576"),
        ):
            with self.assertRaises(BadAsk) as caught:
                read_json(wire)
            self.assertIn(words, str(caught.exception), wire[:40])

    def test_depth_counts_outside_of_strings(self) -> None:
        """Brackets in a text are text; as deep as may be is taken."""
        self.assertEqual(read_json(b'"' + b"[" * 100 + b'\\"{"'), "[" * 100 + '"{')
        deep = read_json(b"[" * DEPTH + b"]" * DEPTH)
        for _ in range(DEPTH - 1):
            deep = deep[0]
        self.assertEqual(deep, [])

    def test_bombs_cost_little(self) -> None:
        """As deep, as long, as full of digits as a body may be: refused within a moment."""
        for bomb in (
            b"[" * (BODY_BYTES // 2) + b"]" * (BODY_BYTES // 2),
            b"9" * BODY_BYTES,
            b'{"a":' * (BODY_BYTES // 5),
            b"[" * 40 + b'"' + b'\\"' * (BODY_BYTES // 2 - 40),
            b"{}," * (BODY_BYTES // 3),
        ):
            began = time.process_time()
            self.assertRaises(BadAsk, read_json, bomb)
            self.assertLess(time.process_time() - began, 5.0)  # a bomb that works takes minutes
