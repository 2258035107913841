"""A student's card: front matter that is YAML, and words of others that are words, whatever stands in them."""

import html
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reflow.reports.card import (
    Card,
    CardFigures,
    Code,
    Licence,
    Result,
    code,
    escaped,
    fence,
    render_card,
)
from reflow.reports.template import Table

HOSTILE = (
    "<script>alert(1)</script> ![x](https://evil.example/p.png) [click](javascript:alert(1)) `rm -rf /`\n---\n"
    "license: mit\n# heading | cell <img src=x onerror=alert(1)> &lt;b&gt; *bold* ~~gone~~ $x$ \u202etxt"
)
CARD = Card(
    title="demo",
    summary="A student.",
    teacher=[("Policy", Code("me/teacher")), ("Licence", "not stated")],
    data=[("Data set", Code("me/data"))],
    tasks=("pick up the cube",),
    method=[("Fix", Code("full32"))],
    figures=(
        CardFigures(
            "Evaluation", ("91 %.",), Table(("", "nfe"), (("teacher", "10"),), ("", "steps")), "reflow x=1"
        ),
    ),
    run=("lerobot-rollout --policy.path=me/student",),
    licence=Licence("apache-2.0"),
    tags=("reflow",),
    results=(Result("me/data", "success_rate@1", 0.9), Result("me/data", "endpoint_error@1", float("nan"))),
)


def markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def front(text: str) -> dict:
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))


def body(text: str) -> str:
    return markdown().render(text.split("\n---\n", 1)[1])


def one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


@given(st.text(max_size=60) | st.text("-+#=*_`~|<>[]()!&\\$:. 1a\n", max_size=30))
@example("1. no list")
@example("12) no list")
@example("=== no heading")
@example("- no list")
@example("&amp; stays")
@example("https://a.example www.a.example")
@example("a_b_c _d_ __e__")
def test_text_is_read_as_it_is(text: str) -> None:
    rendered = markdown().render(escaped(text))
    wanted = one_line(text)
    assert html.unescape(re.sub(r"^<p>|</p>\n$", "", rendered)) == wanted
    assert not wanted or rendered.startswith("<p>")
    assert not re.search(r"<(?!/?p>)", rendered)


@given(st.text(max_size=60) | st.text("`| a\\", max_size=20))
def test_code_is_code(text: str) -> None:
    table = markdown().render(f"| a | b |\n|---|---|\n| {code(text)} | x |\n")
    assert table.count("<td>") == 2
    found = re.search(r"<td><code>(.*)</code></td>", table)
    if one_line(text):
        assert found is not None
        assert html.unescape(found[1]).strip() == one_line(text)
    block = markdown().render(fence([text, "after"]))
    assert block.startswith("<pre><code")
    assert html.unescape(re.sub(r"<[^>]*>", "", block)) == f"{one_line(text)}\nafter\n\n"


def test_the_front_matter_is_what_the_hub_reads() -> None:
    text = render_card(replace(CARD, base_model=("me/teacher",), datasets=("me/data",)))
    assert front(text) == {
        "library_name": "lerobot",
        "pipeline_tag": "robotics",
        "license": "apache-2.0",
        "base_model": ["me/teacher"],
        "datasets": ["me/data"],
        "tags": ["reflow"],
        "model-index": [
            {
                "name": "demo",
                "results": [
                    {
                        "task": {"type": "robotics"},
                        "dataset": {"name": "me/data", "type": "me/data"},
                        "metrics": [{"type": "success_rate@1", "value": 0.9}],
                    }
                ],
            }
        ],
    }


def test_without_a_licence_the_card_says_so() -> None:
    text = render_card(replace(CARD, licence=Licence(), results=()))
    assert front(text)["license"] == "other"
    assert "model-index" not in front(text)
    assert "names no licence" in text
    own = render_card(replace(CARD, licence=Licence("other", "my-licence", "https://a.example/licence")))
    assert front(own)["license_name"] == "my-licence"
    assert "`my-licence`" in own


def test_tables_and_commands_are_there() -> None:
    page = body(render_card(CARD))
    assert "<td>teacher</td>\n<td>10</td>" in page
    assert "<th>nfe (steps)</th>" in page
    assert '<code class="language-bash">reflow x=1\n</code>' in page
    assert "<td><code>full32</code></td>" in page
    assert "<h2>Data</h2>" in page
    assert "<h2>Data</h2>" not in body(render_card(replace(CARD, data=())))


@pytest.mark.parametrize(
    "field", ["title", "summary", "tasks", "teacher", "figures", "run", "licence", "results"]
)
def test_no_words_of_others_become_anything_else(field: str) -> None:
    hostile = {
        "tasks": (HOSTILE,),
        "teacher": [(HOSTILE, HOSTILE), (HOSTILE, Code(HOSTILE))],
        "figures": (
            CardFigures(
                HOSTILE, (HOSTILE,), Table((HOSTILE,), ((HOSTILE,),), (HOSTILE,)), HOSTILE, HOSTILE, HOSTILE
            ),
        ),
        "run": (HOSTILE,),
        "licence": Licence(HOSTILE, HOSTILE, HOSTILE),
        "results": (Result(HOSTILE, "success_rate@1", 1.0),),
    }.get(field, HOSTILE)
    text = render_card(replace(CARD, **{field: hostile}))
    there = front(text)
    assert there["license"] == (one_line(HOSTILE) if field == "licence" else "apache-2.0")
    page = body(text)
    allowed = {
        "h1",
        "h2",
        "p",
        "a",
        "pre",
        "code",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
        "em",
        "strong",
    }
    assert set(re.findall(r"</?(\w+)", page)) <= allowed - {"em", "strong"}
    assert re.findall(r'href="([^"]*)"', page) == ["https://github.com/huggingface/lerobot"]
    assert "\u202e" not in text
