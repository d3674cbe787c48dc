"""Templates in roles: `{{internal.logins}}` becomes what the person's traits say.

`{{internal.NAME}}` and `{{external.NAME}}` (also `["NAME"]`) read the same traits: those of
a local user are internal to Teleport, those of a single sign-on are external, and a person
has one set of both here. `{{email.local(external.NAME)}}` is what stands before the `@`.
Text around the braces is kept. A trait that is not there gives nothing, not an empty text.

What comes out is data: `*` in a trait is a star, never a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from attrs import frozen

#: The longest text with a template in it, and the longest that comes out.
TEXT_LIMIT: Final = 1024

Traits = Mapping[str, tuple[str, ...]]

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}"
_VARIABLE = rf"(?:internal|external)(?:\.(?P<dot>{_NAME})|\[\"(?P<index>[^\"\]\n]{{1,128}})\"\])"
_TEMPLATE = re.compile(
    rf"(?P<before>[^{{}}]*)\{{\{{\s*"
    rf"(?P<local>email\.local\(\s*)?{_VARIABLE}(?(local)\s*\))"
    rf"\s*\}}\}}(?P<after>[^{{}}]*)"
)


@frozen
class _Template:
    before: str
    trait: str
    local: bool  #: only what is before the "@"
    after: str


@lru_cache(maxsize=4096)
def _parsed(text: str) -> _Template | None:
    found = _TEMPLATE.fullmatch(text) if len(text) <= TEXT_LIMIT else None
    if found is None:
        return None
    return _Template(
        found["before"], found["dot"] or found["index"], found["local"] is not None, found["after"]
    )


def is_template(text: str) -> bool:
    """True where *text* has, or means to have, a template in it."""
    return "{{" in text or "}}" in text


def fault(text: str) -> str | None:
    """What is wrong with the template in *text*, or None; text without one is right."""
    if not is_template(text):
        return None
    if len(text) > TEXT_LIMIT:
        return f"has more than {TEXT_LIMIT} characters"
    if (template := _parsed(text)) is None:
        return (
            f"{text[:128]!a} is no template: write {{{{internal.NAME}}}}, {{{{external.NAME}}}} "
            "or {{email.local(external.NAME)}}, one of them in a text"
        )
    if template.before.startswith("^") and template.after.endswith("$"):
        return "a template cannot stand in a regular expression"
    if "*" in template.before + template.after:
        return "a template cannot stand in a glob: what a trait says is taken as it is"
    return None


def expand(text: str, traits: Traits) -> tuple[str, ...]:
    """*text* once for each value of the trait that it names, sorted; itself without a template.

    A template with a fault gives nothing.
    """
    if not is_template(text):
        return (text,)
    if (template := _parsed(text)) is None:
        return ()
    found = set()
    for value in traits.get(template.trait, ()):
        if template.local:
            value, at, _ = value.rpartition("@")
            value = value if at else ""
        whole = f"{template.before}{value}{template.after}"
        if value and len(whole) <= TEXT_LIMIT:
            found.add(whole)
    return tuple(sorted(found))
