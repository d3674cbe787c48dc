"""Tests for `core.sshway`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.sshway import (
    ANSWER_BYTES,
    MULTIPLEX,
    SEPARATE,
    address,
    read_answer,
    ssh_way,
)
from tlsgate.errors import BadBytes

HERE = ("gate.test", 443)


def told(routing: object, **ssh: str) -> dict[str, Any]:
    """An answer with these addresses."""
    return {"server_version": "1.0.0", "proxy": {"tls_routing_enabled": routing, "ssh": ssh}}


class SshWayTests(SynchronousTestCase):
    """Tests for `ssh_way`."""

    def test_multiplex(self) -> None:
        """With TLS routing the address that answered is dialled, whatever is advertised."""
        answer = told(True, listen_addr="0.0.0.0:3023", ssh_public_addr="other.test:3023")
        self.assertEqual(ssh_way(answer, *HERE), (MULTIPLEX, "gate.test", 443))

    def test_separate(self) -> None:
        """Without it the public address comes first, then the listener's, with our host."""
        for ssh, want in (
            (
                {"listen_addr": "0.0.0.0:3023", "ssh_public_addr": "Jump.test:23"},
                ("jump.test", 23),
            ),
            ({"listen_addr": "0.0.0.0:3023"}, ("gate.test", 3023)),
            ({"listen_addr": "[::]:3023"}, ("gate.test", 3023)),
            ({"listen_addr": ":3023"}, ("gate.test", 3023)),
            ({"listen_addr": "[2001:db8::1]:3023"}, ("2001:db8::1", 3023)),
            ({"listen_addr": "10.0.0.7:3023", "ssh_public_addr": ""}, ("10.0.0.7", 3023)),
        ):
            self.assertEqual(ssh_way(told(False, **ssh), *HERE), (SEPARATE, *want))

    def test_no_listener(self) -> None:
        """Where no SSH listener is advertised nothing is guessed."""
        for answer in (told(False), {"proxy": {"tls_routing_enabled": False}}, {"proxy": 3}, {}):
            self.assertEqual(ssh_way(answer, *HERE), (MULTIPLEX, *HERE))

    def test_no_address(self) -> None:
        """What would be read as an option of ssh, or is no address, is refused."""
        for written in (
            *("-oProxyCommand=x:22", "a b:22", "gate.test", "gate.test:", "gate.test:0"),
            *("gate.test:65536", "gate.test:999999999", "2001:db8::1:22", "gate.test:²"),
        ):
            with self.assertRaises(BadBytes, msg=written):
                ssh_way(told(False, ssh_public_addr=written), *HERE)

    def test_address(self) -> None:
        """A host in lower case and a port."""
        self.assertEqual(address("A.test:1"), ("a.test", 1))


class ReadAnswerTests(SynchronousTestCase):
    """Tests for `read_answer`."""

    def test_good(self) -> None:
        """An object with a version is one."""
        self.assertEqual(read_answer(b'{"server_version": "1.0.0"}'), {"server_version": "1.0.0"})

    def test_bad(self) -> None:
        """Everything else is an error of ours."""
        for text in (b"", b"[]", b"{}", b"\xff", b'{"server_version": 1}', b"[" * 100_000):
            with self.assertRaises(BadBytes):
                read_answer(text)
        with self.assertRaises(BadBytes):
            read_answer(b" " * (ANSWER_BYTES + 1))
