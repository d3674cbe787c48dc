"""Tests for `tlsgate.protocols.kubernetes`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.errors import ERRORS
from tests.protocols.web.clients import answers
from tlsgate.errors import NotServed
from tlsgate.protocols.kubernetes import Kubernetes
from tlsgate.testing import FakeContext, connect, route


class KubernetesTests(SynchronousTestCase):
    """The port that only refuses."""

    def test_own_port(self) -> None:
        """The first request is answered with a Status object."""
        talk = connect(Kubernetes(), FakeContext(route=route(), listener="kube"))
        talk.send(b"GET /api HTTP/1.1\r\nHost: kube\r\n")
        self.assertEqual(talk.received, b"")
        talk.send(b"\r\n")
        [answer] = answers(talk.received)
        self.assertEqual(
            (answer.code, json.loads(answer.body)),
            (
                503,
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": str(NotServed("kubernetes", Kubernetes.advice)),
                    "reason": "ServiceUnavailable",
                    "code": 503,
                },
            ),
        )
        self.assertTrue(talk.closed)

    def test_reasons(self) -> None:
        """A program tells a right that lacks from a certificate that lacks."""
        refused = [answers(Kubernetes().refusal(error))[0] for error in ERRORS]
        self.assertEqual(
            " ".join(json.loads(answer.body)["reason"] for answer in refused),
            "Forbidden Unauthorized ServiceUnavailable ServiceUnavailable ServiceUnavailable "
            "TooManyRequests ServiceUnavailable ServiceUnavailable ServiceUnavailable "
            "ServiceUnavailable InternalError InternalError",
        )
        self.assertEqual(
            [answer.code for answer in refused],
            [json.loads(answer.body)["code"] for answer in refused],
        )
