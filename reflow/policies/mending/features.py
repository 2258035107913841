"""``input_features`` that are those of the base a policy was fine-tuned from, and not of what it was trained on.

lerobot-train keeps the base's. LeRobot never asks: it pads whatever state comes, and skips cameras that do not
come. What the policy was trained on stands in its statistics, and in the rename map that was saved with them.
"""

from __future__ import annotations

from collections.abc import Iterator

from lerobot.utils.constants import OBS_IMAGE, OBS_STATE

from reflow.policies.files import CONFIG, PADDED, PREPROCESSOR, PolicyFiles

EMPTY_CAMERA = ".empty_camera_"
_USED = ("mean", "min", "q01", "q10")


def widen_state(files: PolicyFiles) -> Iterator[str]:
    """Gives the state the width of its statistics, in the configuration and in the steps that normalise."""
    feature = files.features("input_features").get(OBS_STATE)
    own = {
        step["config"]["features"][OBS_STATE]["shape"][0]
        for step in files.steps(PREPROCESSOR, "normalizer_processor")
        if OBS_STATE in step.get("config", {}).get("features", {})
    }
    widths = {
        tensor.shape[-1]
        for step in files.steps(PREPROCESSOR, "normalizer_processor")
        for name, tensor in files.statistics.get(str(step.get("state_file")), {}).items()
        if name in [f"{OBS_STATE}.{statistic}" for statistic in _USED] and tensor.ndim == 1
    }
    # Of several widths none is the truth, and one value for many joints would be broadcast: both are refused later.
    if feature is None or len(widths) != 1 or 1 in widths or widths == {feature["shape"][0]}:
        return
    if widths == own == {files.config.get(PADDED[OBS_STATE])}:  # padded before it is normalised
        return
    (was,), (width,) = feature["shape"], widths
    feature["shape"] = [width]
    for _, step in files.normalizers():
        if OBS_STATE in step["config"].get("features", {}):
            step["config"]["features"][OBS_STATE]["shape"] = [width]
    yield (
        f"{files.folder / CONFIG} says {was} values of {OBS_STATE}, its statistics are of {width}: it was trained on "
        f"{width}, and {was} is left over from its base"
    )


def narrow_cameras(files: PolicyFiles) -> Iterator[str]:
    """Takes out cameras that the policy was never trained with: they are skipped, or masked, as LeRobot does it."""
    features = files.features("input_features")
    cameras = [key for key, feature in features.items() if feature.get("type") == "VISUAL"]
    cameras = [key for key in cameras if EMPTY_CAMERA not in key]
    rename = files.saved_rename
    seen = {
        name.rpartition(".")[0]
        for step in files.steps(PREPROCESSOR, "normalizer_processor")
        for name in files.statistics.get(str(step.get("state_file")), {})
        if name.startswith(OBS_IMAGE)
    }
    trained = {rename.get(key, key) for key in seen} | set(rename.values())
    kept = [key for key in cameras if key in trained]
    never = [key for key in cameras if key not in trained]
    if not kept or not never:
        return
    for key in never:
        del features[key]
    for _, step in files.normalizers():
        for key in never:
            step["config"].get("features", {}).pop(key, None)
    yield (
        f"{files.folder / CONFIG} names {len(cameras)} cameras, its statistics and its rename map {len(kept)} of "
        f"them ({', '.join(kept)}): it was trained on those, and {', '.join(never)} is left over from its base"
    )
