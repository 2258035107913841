"""What a run is made of is written down when it begins, and its card says so; what is damaged is refused by name."""

import json
from pathlib import Path

import pytest
import yaml

from reflow.config.cards import card_of, write_run_card
from reflow.config.origin import ORIGIN, licence_in, read_origin
from reflow.config.saved import front_matter
from reflow.errors import UserError
from reflow.files import sha256
from reflow.policies import fingerprint
from reflow.policies.sums import SUMS, check_sums
from reflow.reports.card import Licence
from reflow.train import train
from tests.builders import repo_id
from tests.distill.conftest import SMALL, composed


def test_the_run_has_noted_what_it_is_made_of(parts: dict[str, Path]) -> None:
    origin = read_origin(parts["run"])
    assert origin is not None
    teacher, (data,) = origin.teacher, origin.data
    assert (teacher.name, teacher.kind, teacher.num_steps) == ("my_teacher", "smolvla", 4)
    assert teacher.fingerprint == fingerprint(parts["teacher"])
    assert teacher.files == {"model.safetensors": sha256(parts["teacher"] / "model.safetensors")}
    assert teacher.licence == Licence("cc-by-nc-4.0")
    assert teacher.base_model == ("lerobot/smolvla_base",)
    assert (data.episodes, data.frames, data.fps, data.robot) == (4, 48, 10, "made_up")
    assert (data.trained, data.held_out, data.on_hub, data.revision) == (3, 1, False, None)
    assert data.tasks == ("pick up the cube", "put it down")
    assert str(parts["run"].parent) not in (parts["run"] / ORIGIN).read_text()


def test_the_delivered_card_says_it(parts: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    student = parts["run"] / "pretrained_model"
    text = (student / "README.md").read_text()
    head = yaml.safe_load(text.split("\n---\n")[0])
    assert head["license"] == "cc-by-nc-4.0"
    assert head["base_model"] == ["lerobot/smolvla_base"]
    assert "datasets" not in head  # of a folder, and no hub's
    assert head["model-index"][0]["results"][0]["metrics"][0]["type"] == "endpoint_error@1"
    metrics = json.loads((parts["run"] / "metrics.json").read_text())
    found = head["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert found == pytest.approx(metrics["student/endpoint_error@1"], rel=1e-5)
    for word in ("full32", "--inference.rtc.max_guidance_weight=1", "`Reflow`", "4 times", "4 of 48 frames"):
        assert word in text
    assert str(parts["run"].parent) not in text
    check_sums(student, "student")
    assert "  README.md\n" in (student / SUMS).read_text()
    assert not capsys.readouterr().err


def test_a_card_that_is_gone_is_written_again(run: Path, parts: dict[str, Path]) -> None:
    before = (run / "pretrained_model" / "README.md").read_text()
    (run / "pretrained_model" / "README.md").unlink()
    asked = [f"teacher.path={parts['teacher']}", f"data.repo_id={repo_id(parts['data'])}"]
    asked += [f"data.root={parts['data']}", f"run_dir={run}", *SMALL]
    train(composed("+fix=full32", *asked, "trainer.max_steps=1", "trainer.val_check_interval=1"), run)
    assert (run / "pretrained_model" / "README.md").read_text() == before
    check_sums(run / "pretrained_model", "student")


def test_an_evaluation_of_another_student_is_left_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = run / "evaluation"
    evaluation.mkdir()
    (evaluation / "metrics.json").write_text(json.dumps({"student/endpoint_error@1": 0.25}))
    offline = {"identity": {"student": fingerprint(run / "pretrained_model")}, "metrics": {}}
    (evaluation / "offline.json").write_text(json.dumps(offline))
    assert [part.title for part in card_of(run).figures] == ["Evaluation", "Figures of the training run"]
    assert card_of(run).results[0].value == 0.25
    (evaluation / "offline.json").write_text(json.dumps({"identity": {"student": "another"}, "metrics": {}}))
    assert [part.title for part in card_of(run).figures] == ["Figures of the training run"]
    assert f"{evaluation} is of another student" in capsys.readouterr().err


def test_a_run_of_before_has_a_card_with_what_is_known(run: Path) -> None:
    (run / ORIGIN).unlink()
    (run / "pretrained_model" / SUMS).unlink()
    text = (write_run_card(run) / "README.md").read_text()
    assert "`my_teacher`" in text
    assert "names no licence" in text
    assert "## Data" not in text
    check_sums(run / "pretrained_model", "student")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"teacher": 1}, r"origin\.json: teacher: "),
        ([], "delete it, and the card goes without"),
        ({}, "teacher"),
    ],
)
def test_a_damaged_origin_is_refused(run: Path, content: object, words: str) -> None:
    (run / ORIGIN).write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        card_of(run)


@pytest.mark.parametrize(("said", "shown"), [("[4, 1, 2]", "1, 2, 4"), ("2", "2"), ("0", None), ("[]", None)])
def test_a_student_of_several_numbers_of_steps_is_told_by_the_first(
    run: Path, said: str, shown: str | None
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["student"]["num_steps"] = json.loads(said)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    if shown is None:
        with pytest.raises(UserError, match=r"config\.yaml: student\.num_steps=.*; allowed: 1 or more"):
            card_of(run)
        return
    card = card_of(run)
    assert ("Steps of the student", shown) in card.method
    assert f"{shown[0]}-step" in card.tags


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ({"license": "MIT"}, Licence("mit")),
        (
            {"license": "other", "license_name": "mine", "license_link": "https://a.example/l"},
            Licence("other", "mine", "https://a.example/l"),
        ),
        ({"license": "other", "license_link": "javascript:alert(1)"}, Licence("other")),
        ({"license": "<b>mit</b>"}, Licence()),
        ({"license": ["mit", "apache-2.0"]}, Licence()),
        ({}, Licence()),
    ],
)
def test_a_licence_is_a_word_of_the_hub_s(card: dict, licence: Licence) -> None:
    assert licence_in(card) == licence


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("---\nlicense: mit\n---\n# A", {"license": "mit"}),
        ("# no front matter\n---\nlicense: mit\n---\n", {}),
        ("---\nlicense: mit\n", {}),
        ("---\na: &x [1]\nb: [*x, *x]\n---\n", {}),  # what a few lines of would fill the memory with
        ("---\n!!python/object/apply:os.system ['touch executed']\n---\n", {}),
        ("---\n- 1\n---\n", {}),
        ("\x00", {}),
    ],
)
def test_front_matter_is_values_and_nothing_else(tmp_path: Path, text: str, found: dict) -> None:
    (tmp_path / "README.md").write_text(text)
    assert front_matter(tmp_path / "README.md") == found
