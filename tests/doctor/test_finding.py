"""Exit codes, verdict and JSON of a diagnosis."""

import json

import pytest

from reflow.doctor import Check, Diagnosis, Finding


def of(*severities: str) -> Diagnosis:
    findings = tuple(Finding(f"f{i}", severity, "what") for i, severity in enumerate(severities))
    return Diagnosis((Check("one", {"a": 1.0, "b": float("nan")}, findings), Check("two", {"a": 2.0}, ())))


@pytest.mark.parametrize(
    ("severities", "code"),
    [((), 0), (("ok",), 0), (("ok", "note"), 0), (("warning", "ok"), 1), (("error",), 1)],
)
def test_the_exit_code_is_1_where_something_is_to_mend(severities: tuple[str, ...], code: int) -> None:
    assert of(*severities).exit_code == code


def test_the_verdict_names_what_is_to_mend_and_counts_notes() -> None:
    assert of("ok", "note").verdict == "Healthy: nothing stands against this distillation (1 note besides)."
    assert of("warning", "note", "error").verdict == "2 findings to mend first: f0, f2 (1 note besides)."


def test_json_is_flat_and_without_nan() -> None:
    document = json.loads(json.dumps(of("warning").as_json(), allow_nan=False))
    assert document["figures"] == {"one/a": 1.0, "one/b": None, "two/a": 2.0}
    assert document["exit_code"] == 1
    assert document["findings"] == [
        {
            "check": "one",
            "name": "f0",
            "severity": "warning",
            "what": "what",
            "how_bad": "",
            "what_to_do": None,
        }
    ]
