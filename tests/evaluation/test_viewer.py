"""The recording holds what either policy does, joint by joint, and what was seen; it is read back."""

from pathlib import Path

import numpy as np
import pytest

from reflow.errors import NotInstalledError, UserError
from reflow.evaluation.viewer import FILM, STEP, Look, check_viewer, write_recording

JOINTS = ("left/waist", "grip per")


def looks() -> list[Look]:
    rng = np.random.default_rng(0)
    return [
        Look(
            start=3 * number,
            episode=number // 2,
            task="pick up the <cube>",
            images={"observation.images.top": rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)},
            chunks={who: rng.normal(size=(3, 2)).astype(np.float32) for who in ("teacher", "student")},
        )
        for number in range(4)
    ]


def read(path: Path) -> dict[str, list]:
    """Record batches by entity."""
    from rerun.experimental import RrdReader

    found: dict[str, list] = {}
    for chunk in RrdReader(path).stream():
        found.setdefault(chunk.entity_path, []).append(chunk.to_record_batch())
    return found


def blueprints(path: Path) -> int:
    from rerun.experimental import RrdReader

    return len(RrdReader(path).blueprints())


def column(batches: list, part: str) -> list:
    return [
        value
        for batch in batches
        for name in batch.schema.names
        if part in name
        for value in batch[name].to_pylist()
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    shown = looks()
    path = write_recording(tmp_path / "seen.rrd", "demo: student <against> teacher", iter(shown), JOINTS)
    assert [file.name for file in tmp_path.iterdir()] == ["seen.rrd"]
    found = read(path)
    assert blueprints(path) == 1
    for number, joint in enumerate(("00_left_waist", "01_grip_per")):
        for who in ("teacher", "student"):
            (place,) = [
                name for name in found if joint in name.replace("\\", "") and name.endswith(f"/{who}")
            ]
            batches = [batch for batch in found[place] if STEP in batch.schema.names]
            pairs = sorted(zip(column(batches, STEP), column(batches, "Scalars:scalars"), strict=True))
            assert [step for step, _ in pairs] == list(range(12))
            wanted = np.concatenate([look.chunks[who][:, number] for look in shown])
            assert [value for _, (value,) in pairs] == pytest.approx(wanted.tolist())
    camera = found["/cameras/observation.images.top"]
    assert bytes(column(camera, "Image:buffer")[0][0]) == shown[0].images["observation.images.top"].tobytes()
    assert column(found["/task"], "TextLog:text")[2] == ["episode 1: pick up the <cube>"]
    gap = np.sqrt(np.mean((shown[0].chunks["student"] - shown[0].chunks["teacher"]) ** 2))
    assert column(found["/distance"], "Scalars:scalars")[0] == [pytest.approx(float(gap))]


def test_films_go_with_it(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    av = pytest.importorskip("av")
    film = tmp_path / "seed-7.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for shade in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * shade, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = read(write_recording(tmp_path / "seen.rrd", "demo", iter(looks()), JOINTS, [film]))
    place = "/films/seed-7"
    assert bytes(column(found[place], "AssetVideo:blob")[0][0]) == film.read_bytes()
    assert len(column([batch for batch in found[place] if FILM in batch.schema.names], FILM)) == 5


def test_what_cannot_be_shown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_viewer(None, 0)
    with pytest.raises(UserError, match="viewer=foxglove; allowed: rerun, or null"):
        check_viewer("foxglove", 2)
    with pytest.raises(UserError, match="viewer_episodes=0; allowed: 1 or more"):
        check_viewer("rerun", 0)
    monkeypatch.setattr("reflow.evaluation.viewer.find_spec", lambda _: None)
    with pytest.raises(NotInstalledError, match=r"viewer=rerun needs rerun.*pip install 'reflow\[rerun\]'"):
        check_viewer("rerun", 2)
