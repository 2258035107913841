"""Docstrings as this project writes them, made into what mkdocstrings reads.

Two habits: several parameters that are explained at once (``low, high: range of the data``), and Sphinx's roles.
"""

import re

from griffe import Extension, Object

_TOGETHER = re.compile(r"^(?P<indent> {4,})(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)+): (?P<text>.*)$")
_SECTION = re.compile(r"^ *(Args|Attributes):$")
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`~?([^`]+)`")


def apart(text: str) -> str:
    """One entry for each parameter of ``Args`` and ``Attributes``; roles as code."""
    lines, inside = [], False
    rows = text.splitlines()
    for number, line in enumerate(rows):
        inside = bool(_SECTION.match(line)) or (inside and (line.startswith(" ") or not line.strip()))
        found = _TOGETHER.match(line) if inside else None
        if not found:
            lines.append(line)
            continue
        deeper = found["indent"] + "    "
        rest = []
        for following in rows[number + 1 :]:
            if not following.startswith(deeper):
                break
            rest.append(following)
        *others, last = found["names"].split(", ")
        for name in others:
            lines += [f"{found['indent']}{name}: {found['text']}", *rest]
        lines.append(f"{found['indent']}{last}: {found['text']}")
    return _ROLE.sub(r"`\1`", "\n".join(lines))


class Habits(Extension):
    """Applies `apart` to every docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = apart(obj.docstring.value)
