"""Tests for `tlsgate.config.schema`: rules that hold within one block."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import ports, schema
from tlsgate.config.endpoints import server_endpoint


class SchemaTests(SynchronousTestCase):
    """Tests for blocks by themselves."""

    def refused(self, model: type[Any], value: dict[str, Any]) -> None:
        """*value* is no *model*."""
        self.assertRaises(ValidationError, model.model_validate, value)

    def test_blocks_are_frozen(self) -> None:
        """A block cannot be changed once it is read."""
        block = schema.Limits()
        self.assertRaises(ValidationError, setattr, block, "connections", 1)

    def test_a_rule_says_one_thing(self) -> None:
        """None, two or an unknown kind make no rule."""
        for value in ({}, {"cn": "a", "dns": "b"}, {"email": "a"}, {"cn": None}):
            self.refused(schema.RuleBlock, value)
        self.assertEqual(schema.RuleBlock.model_validate({"dns": "*.A."}).dns, "*.a")

    def test_proxy_protocol_for_short(self) -> None:
        """`on`, `off` and a block are ways to write one value; yes and true are none."""
        read = schema.ListenerBlock.model_validate
        for text in ("on", "OFF"):
            block = read({"proxy_protocol": text}).proxy_protocol
            assert block is not None
            self.assertEqual((block.mode, block.trusted), (text.lower(), None))
        refused: tuple[object, ...] = ("yes", "true", "1", [])
        for value in refused:
            self.refused(schema.ListenerBlock, {"proxy_protocol": value})

    def test_older_log_format(self) -> None:
        """Teleport's list of fields alone is the format's extra fields."""
        log = schema.Log.model_validate({"format": ["timestamp"]})
        self.assertEqual((log.format.output, log.format.extra_fields), ("text", ["timestamp"]))

    def test_default_addresses_have_the_default_ports(self) -> None:
        """The addresses of v1 say what a host without a port would."""
        for address, port in {
            schema.WEB_ADDRESS: ports.WEB,
            schema.SSH_ADDRESS: ports.SSH,
            schema.TUNNEL_ADDRESS: ports.TUNNEL,
            schema.KUBE_ADDRESS: ports.KUBE,
        }.items():
            self.assertEqual(server_endpoint(address, None), server_endpoint("0.0.0.0", port))
