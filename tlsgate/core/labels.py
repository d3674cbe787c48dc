"""Labels of a target against what a role asks of them.

A selector is a mapping of label names to alternatives: every name has to be there, with a
value that one of its alternatives fits. The name `*` with the value `*` takes everything,
without labels too. An empty selector takes nothing. See `patterns` for what fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tlsgate.core import patterns, templates
from tlsgate.core.templates import Traits

Selector = Mapping[str, tuple[str, ...]]

#: The only selector of that name.
EVERYTHING: Final[Mapping[str, tuple[str, ...]]] = {"*": ("*",)}


def fault(word: str) -> str | None:
    """What is wrong with *word* as an alternative (a pattern or a template), or None."""
    if templates.is_template(word):
        return templates.fault(word)
    return patterns.fault(word)


def word_fits(word: str, value: str, traits: Traits) -> bool:
    """Whether the pattern, or what the template comes to, is *value*."""
    if templates.is_template(word):
        return value in templates.expand(word, traits)
    return patterns.fits(word, value)


def fitting(words: Sequence[str], value: str, traits: Traits) -> str | None:
    """The least of *words* that fits, so that their order is nothing; or None."""
    return min((word for word in words if word_fits(word, value, traits)), default=None)


def met(selector: Selector, labels: Mapping[str, str], traits: Traits) -> str | None:
    """How *labels* meet *selector*: "env=prod, team=*"; None when they do not.

    The text names each key, in order, with the alternative that fitted.
    """
    pairs = []
    for key in sorted(selector):
        word = _met_key(key, selector[key], labels, traits)
        if word is None:
            return None
        pairs.append(f"{key}={word}")
    return ", ".join(pairs) if pairs else None


def missed(selector: Selector, labels: Mapping[str, str], traits: Traits) -> str:
    """Which key of *selector* is not met first, and by what; "" when all are."""
    if not selector:
        return "no labels are given, which means none"
    for key in sorted(selector):
        if _met_key(key, selector[key], labels, traits) is None:
            wanted = " or ".join(sorted(selector[key])) or "nothing"
            there = f"it is {labels[key]!a}" if key in labels else "there is no such label"
            return f"{key} has to be {wanted}, {there}"
    return ""


def _met_key(
    key: str, words: Sequence[str], labels: Mapping[str, str], traits: Traits
) -> str | None:
    if key == "*":
        return "*" if "*" in words else None
    if key not in labels:
        return None
    return fitting(words, labels[key], traits)
