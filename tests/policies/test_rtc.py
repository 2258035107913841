"""Real-time chunking: the weight that fits a student, by LeRobot's own guidance; what is saved; what is said."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.rtc.modeling_rtc import RTCProcessor
from torch import Tensor

from reflow.doctor.runtimes import rtc_findings
from reflow.flow import integrate
from reflow.policies import RTC_FLAG, load_policy, rtc_flag, rtc_hint, save_policy
from reflow.policies.rtc import DEFAULT_WEIGHT
from tests.builders import make_batch, make_teacher_folder

DELAY, HORIZON = 3, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a policy that was trained with real-time chunking switched on."""
    folder = make_teacher_folder(tmp_path_factory.mktemp("guided") / "pretrained_model", num_steps=4)
    _edit(folder / "config.json", rtc_config={"enabled": True})
    return folder


def _edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _missed(num_steps: int, weight: float) -> float:
    """How far frozen actions end from where they are wanted, in units of the unguided distance: a straight field."""
    generator = torch.Generator().manual_seed(0)
    noise, action, wanted = (
        torch.randn(1, 10, 4, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    guide = RTCProcessor(RTCConfig(max_guidance_weight=weight, execution_horizon=HORIZON))

    def velocity(x_t: Tensor, t: Tensor) -> Tensor:
        return guide.denoise_step(
            x_t, wanted, DELAY, t.flatten()[0], lambda x: (x - action) / t.flatten()[0], HORIZON
        )

    end = integrate(velocity, noise, num_steps).endpoint
    return ((end - wanted)[:, :DELAY].norm() / (action - wanted)[:, :DELAY].norm()).item()


def test_the_weight_that_fits_one_step_is_one() -> None:
    assert _missed(1, 1.0) < 1e-6
    assert _missed(1, RTCConfig().max_guidance_weight) == pytest.approx(DEFAULT_WEIGHT - 1)
    assert RTCConfig().max_guidance_weight == DEFAULT_WEIGHT


def test_the_flag_names_the_number_of_steps() -> None:
    assert rtc_flag(1) == RTC_FLAG == "--inference.rtc.max_guidance_weight=1"
    assert rtc_flag(4) == "--inference.rtc.max_guidance_weight=4"
    assert rtc_flag(10) is rtc_flag(16) is None


def test_a_folder_is_saved_without_real_time_chunking_and_so_is_played(folder: Path, tmp_path: Path) -> None:
    flow = load_policy(folder)
    batch = make_batch(flow, 1)
    with pytest.raises(AssertionError, match="RTC is not supported for select_action"):
        flow.policy.select_action(batch)
    saved = save_policy(flow, folder, tmp_path / "student")
    assert json.loads((saved / "config.json").read_text())["rtc_config"] is None
    assert load_policy(saved).policy.select_action(batch).shape == (1, 14)


def test_whoever_deploys_a_student_is_told(folder: Path, tmp_path: Path) -> None:
    assert RTC_FLAG in str(rtc_hint(folder, 1))
    assert "max_guidance_weight=2" in str(rtc_hint(folder, 2))
    assert rtc_hint(folder, 10) is rtc_hint(tmp_path / "gone", 1) is None
    assert "given up to 7 first actions" in str(rtc_hint(folder, 10, given=7))
    assert str(rtc_hint(folder, 1, given=7)).startswith(str(rtc_hint(folder, 1)))
    plain = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((plain / "config.json").read_text())
    del config["rtc_config"]  # as of a policy that LeRobot does not guide
    (plain / "config.json").write_text(json.dumps(config))
    assert rtc_hint(plain, 1) is None


def test_the_doctor_says_it_too_and_warns_of_what_was_saved(folder: Path) -> None:
    config = load_policy(folder).config
    saved, weight = rtc_findings(config, 1)
    assert (saved.name, saved.severity) == ("rtc_saved", "warning")
    assert "select_action" in saved.how_bad
    assert "null" in str(saved.what_to_do)
    assert (weight.name, weight.severity) == ("rtc_weight", "note")
    assert RTC_FLAG in str(weight.what_to_do)
    config.rtc_config = None
    (few,) = rtc_findings(config, 2)
    assert "max_guidance_weight=2" in str(few.what_to_do)
    (many,) = rtc_findings(config, 10)
    (none,) = rtc_findings(object(), 1)
    assert many.severity == none.severity == "ok"
