"""Writes docs/openapi.yaml: `python -m tests.openapi_page`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tlsgate.auth.openapi import document

PAGE = Path(__file__).parents[1] / "docs" / "openapi.yaml"
_HEAD = "# Made by `python -m tests.openapi_page` from tlsgate/auth; a test holds it equal.\n"


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: no aliases, no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def made() -> str:
    """The page as it is to be."""
    text: str = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)
    return _HEAD + text


if __name__ == "__main__":
    PAGE.write_text(made())
