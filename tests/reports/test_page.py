"""The page as a file: whole, self-contained, escaped, with the sections for which there are data and no others."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reflow.files import UnwritableError
from reflow.reports import Content, SuccessRow, Verdict
from reflow.reports.figures import FIGURES
from reflow.reports.page import render, write_report
from reflow.reports.tables import overview
from reflow.reports.video import EMBED_LIMIT, video_elements
from tests.reports.builders import make_arrays, make_content, make_metrics

SECTIONS = {
    "overview", "simulator", "endpoint", "flow", "velocity", "padding", "distribution", "motion", "latency",
    "video", "reproduce", "details",
}  # fmt: skip
EMPTY = Content("nothing", Verdict("Nothing yet."))
EVIL = "<script>alert('&')</script>\"x"
VOID = {"meta", "link", "br", "img", "input", "hr", "use", "path"}


class Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID or tag in ("path", "use"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def film(folder: Path, name: str, size: int = 200) -> Path:
    path = folder / name
    path.write_bytes(bytes(range(256)) * (size // 256 + 1))
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    return render(make_content((film(folder, "seed-3.mp4"),)), folder / "report.html")


def test_all_sections_are_there_and_linked(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []  # every element is closed where it was opened
    assert {section["id"] for section in reader.all("section")} == SECTIONS
    links = [link["href"] for link in reader.all("a")]
    assert {f"#{name}" for name in SECTIONS} <= set(links)
    for section in reader.all("section"):
        assert any(heading["id"] == section["aria-labelledby"] for heading in reader.all("h2"))


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert re.findall(r"""(?:src|href|action|poster|data)\s*=\s*["']?\s*(?:https?:)?//""", page) == []
    assert "@import" not in page
    assert not re.search(r"url\((?!#|data:)", page)
    reader = Reader(page)
    assert all("src" not in script for script in reader.all("script"))
    assert [link["href"] for link in reader.all("link")] == ["data:,"]


def test_a_page_is_light_in_bytes(page: str) -> None:
    assert len(page.encode()) < 2_000_000


def test_the_verdict_is_the_heading(page: str) -> None:
    assert re.search(r"<h1[^>]*>One step of the student solves 89\.4 % of 1,000 episodes", page)
    assert '<header class="hero good">' in page


@pytest.mark.parametrize(("good", "words"), [(True, "good"), (False, "not good"), (None, "undecided")])
def test_the_verdict_is_told_in_words_and_not_by_colour_alone(
    good: bool | None, words: str, tmp_path: Path
) -> None:
    assert f'<span class="pill">{words}</span>' in render(
        replace(EMPTY, verdict=Verdict("So it is.", good)), tmp_path
    )


def test_figures_and_tables_speak(page: str) -> None:
    reader = Reader(page)
    figures = [svg for svg in reader.all("svg") if svg.get("class") == "plot"]
    assert len(figures) == page.count('<figure class="card"') == len(FIGURES)
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in figures)
    assert (
        page.count("<figcaption>") - page.count('class="video"') == page.count("<b>Good:</b>") == len(FIGURES)
    )
    assert len(reader.all("table")) == page.count("<caption>") == page.count("<thead>")
    assert all(header["scope"] in ("col", "row") for header in reader.all("th"))
    assert reader.all("html")[0]["lang"] == "en"


def only(*prefixes: str) -> Content:
    """A report of the figures and arrays that begin so, and of nothing else."""
    metrics = {key: value for key, value in make_metrics().items() if key.startswith(prefixes)}
    arrays = {key: value for key, value in make_arrays().items() if key.startswith(prefixes)}
    return replace(EMPTY, metrics=metrics, arrays=arrays)


@pytest.mark.parametrize(
    ("content", "sections"),
    [
        (replace(EMPTY, success=make_content().success), {"overview", "simulator"}),
        (replace(EMPTY, comparisons=make_content().comparisons), {"simulator"}),
        (replace(EMPTY, latency=make_content().latency), {"overview", "latency"}),
        (replace(EMPTY, videos=(Path("gone.mp4"),)), {"video"}),
        (replace(EMPTY, commands=("make",)), {"reproduce"}),
        (replace(EMPTY, configuration="seed: 0"), {"details"}),
        (only("student/endpoint_error@"), {"overview", "endpoint", "details"}),
        (only("endpoint_error_joint"), {"endpoint"}),
        (only("fan/"), {"flow"}),
        (only("straightness/"), {"flow", "details"}),
        (only("velocity_error"), {"velocity"}),
        (only("histogram/"), {"padding"}),
        (only("distribution/"), {"distribution", "details"}),
        (only("motion/"), {"motion", "details"}),
    ],
)
def test_there_are_the_sections_for_which_there_are_data(
    content: Content, sections: set[str], tmp_path: Path
) -> None:
    text = render(content, tmp_path / "report.html")
    assert {section["id"] for section in Reader(text).all("section")} == sections


def test_a_report_of_nothing_is_a_page_without_sections(tmp_path: Path) -> None:
    reader = Reader(render(EMPTY, tmp_path / "report.html"))
    assert reader.all("section") == []
    assert reader.all("figure") == []
    assert "Nothing yet." in reader.text


def test_what_users_wrote_is_text(tmp_path: Path) -> None:
    content = replace(
        EMPTY,
        success=make_content().success,
        videos=(film(tmp_path, "a<b>'&.mp4"),),
        arrays={key: value for key, value in make_arrays().items() if key.startswith("endpoint_error_joint")},
        title=EVIL,
        verdict=Verdict(EVIL),
        comparisons=(EVIL,),
        commands=(EVIL,),
        configuration=EVIL,
        versions={EVIL: EVIL},
        joint_names=(EVIL, *(f"joint {number}" for number in range(13))),
        metrics={f"straightness/joint/{EVIL.replace('/', '')}": 1.0, EVIL: 2.0},
    )
    text = render(content, tmp_path / "report.html")
    reader = Reader(text)
    assert reader.open == []
    assert len(reader.all("script")) == 1  # the page's own
    assert "<script>alert" not in text
    assert text.count(EVIL) == 0
    assert reader.text.count(EVIL) >= 7


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_report(EMPTY, tmp_path / "new" / "report.html")
    assert path.read_text().startswith("<!doctype html>")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        UnwritableError, match=r"report\.html cannot be written to .*file \(.*\); choose another folder"
    ):
        write_report(EMPTY, tmp_path / "file" / "report.html")


def test_a_video_is_inside_up_to_the_limit_and_beside_beyond(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    small, big = film(tmp_path / "videos", "seed-1.mp4"), film(tmp_path / "videos", "seed 2.mp4", 3000)
    text = video_elements((small, big), tmp_path / "report.html", limit=1000)
    sources = [video["src"] or "" for video in Reader(text).all("video")]
    assert base64.b64decode(sources[0].removeprefix("data:video/mp4;base64,")) == small.read_bytes()
    assert sources[1] == "videos/seed%202.mp4"
    assert "not part of this file: it plays from" in text
    assert EMBED_LIMIT == 8_000_000


def test_a_video_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    assert "seed-1.mp4 is not there any more" in video_elements(
        (tmp_path / "seed-1.mp4",), tmp_path / "report.html"
    )


def test_teacher_against_student() -> None:
    table = overview(make_content())
    assert table is not None
    assert table.head == (
        "", "nfe", "success", "reward", "length", "endpoint error", "latency",
    )  # fmt: skip
    assert table.rows == (
        ("teacher, 10 steps", "10", "90.6 % (88.6\u201392.3)", "0.940", "96.2", "itself", "68.0"),
        ("teacher, 1 step", "1", "5.20 % (4.0\u20136.8)", "0.310", "148", "18.9 %", "23.3"),
        ("student, 1 step", "1", "89.4 % (87.3\u201391.2)", "0.930", "97.5", "8.32 %", "23.3"),
    )


def test_what_was_concluded_stands_beside_the_rates() -> None:
    pair = "success/student@1_vs_teacher@10"
    metrics = {
        f"{pair}/primary": 1.0,
        f"{pair}/difference": 0.01,
        f"{pair}/noninferior": 1.0,
        f"{pair}/superior": 0.0,
        "success/teacher@1_vs_teacher@10/difference": -0.8,
        "success/teacher@1_vs_teacher@10/noninferior": 0.0,
    }
    table = overview(replace(EMPTY, success=make_content().success, metrics=metrics))
    assert table is not None
    (column,) = [number for number, name in enumerate(table.head) if name == "paired"]
    assert [row[column] for row in table.rows] == ["\u2013", "inferior", "not inferior"]
    assert table.notes[column] == "with teacher@10"


def test_what_was_not_measured_is_a_dash_or_no_column() -> None:
    nan = float("nan")
    rows = (SuccessRow("student", 1, 10, 5, nan, nan, nan, nan),)
    table = overview(replace(EMPTY, success=rows, metrics={"teacher/endpoint_error@1": 0.2}))
    assert table is not None
    assert table.head == ("", "nfe", "success", "endpoint error")
    assert table.rows == (
        ("teacher, 1 step", "1", "\u2013", "20.0 %"),
        ("student, 1 step", "1", "50.0 %", "\u2013"),
    )
    assert overview(EMPTY) is None


def test_the_figures_at_a_glance_are_at_the_students_own_steps(tmp_path: Path) -> None:
    content = replace(
        only("student/endpoint_error@", "teacher/endpoint_error@"), latency=make_content().latency
    )
    assert "endpoint error in 1 step<" in render(content, tmp_path / "report.html")
    walks_two = {"fan/student": make_arrays()["fan/teacher"][:, :3]}
    text = render(replace(content, arrays=walks_two), tmp_path / "report.html")
    assert "endpoint error in 2 steps<" in text
    assert "<dd>32.2 %</dd><dd>undistilled: 11.5 %</dd>" in text
    assert "2.9 \u00d7" in text  # 68.0 ms against 23.3
