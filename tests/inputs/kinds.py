"""The kinds of broken folders that every command meets, each with what the error has to name."""

import torch

from tests.inputs.broken import (
    CONFIG,
    POST,
    PRE,
    WEIGHTS,
    Break,
    adapter,
    at,
    column,
    cut,
    edited,
    located,
    no_column,
    no_vlm,
    one_value,
    pointer,
    put,
    statistics,
    step,
    table,
    weights,
    without,
)

POLICIES: dict[str, tuple[Break, str]] = {
    "configuration cut": (cut(CONFIG), r"config\.json is no JSON"),
    "preprocessor empty": (cut(PRE, 0), r"policy_preprocessor\.json is no JSON"),
    "postprocessor cut": (cut(POST), r"policy_postprocessor\.json is no JSON"),
    "weights cut": (cut(WEIGHTS), r"model\.safetensors"),
    "weights empty": (cut(WEIGHTS, 0), r"model\.safetensors"),
    "weights a pointer": (pointer(WEIGHTS), r"model\.safetensors.*git lfs pull"),
    "statistics a pointer": (pointer("policy_pre*normalizer*.safetensors"), r"normalizer.*git lfs pull"),
    "no weights": (without(WEIGHTS), r"model\.safetensors missing"),
    "no statistics": (without("policy_pre*normalizer*.safetensors"), r"normalizer\S*\.safetensors"),
    "no preprocessor": (without(PRE), r"policy_preprocessor\.json missing"),
    "a NaN in the actions' mean": (statistics("action.mean", at(3, torch.nan)), r"action\.mean.*nan"),
    "an infinity in the states' spread": (
        statistics("observation.state.std", at(0, torch.inf)),
        r"observation\.state\.std.*inf",
    ),
    "one mean for all joints": (
        statistics("action.mean", lambda x: x[:1]),
        r"action.*(\b1\b.*\b14\b|\b14\b.*\b1\b|of another size)",
    ),
    "half the joints": (
        statistics("action.std", lambda x: x[:7]),
        r"action.*(\b7\b.*\b14\b|\b14\b.*\b7\b|of another size)",
    ),
    "processors that disagree": (statistics("action.std", lambda x: 2 * x, "post"), r"action\.std"),
    "a step of a plugin": (
        edited(PRE, lambda c: c["steps"].insert(1, {"registry_name": "my_step", "config": {}})),
        r"my_step",
    ),
    "a step by its class": (
        edited(PRE, lambda c: c["steps"].insert(0, {"class": "os.system"})),
        r"os\.system",
    ),
    "another policy": (edited(CONFIG, lambda c: c.update(type="act")), r"act"),
    "a field of the future": (edited(CONFIG, lambda c: c.update(think_twice=3)), r"think_twice"),
    "half an adapter": (adapter("lora_A"), r"adapter_model\.safetensors.*lora_B"),
    "an adapter without its base": (adapter("lora_A", "lora_B"), r"adapter_config\.json.*me/base"),
    "a spread below zero": (statistics("action.std", lambda x: -x), r"action\.std"),
    "statistics in two dimensions": (statistics("action.std", lambda x: x[None]), r"action\.std"),
    "weights with a NaN": (
        weights(lambda w: w["model.action_out_proj.weight"].__setitem__((0, 0), torch.nan)),
        r"model\.action_out_proj\.weight holds 1 value that is NaN",
    ),
    "a number that is null": (edited(CONFIG, lambda c: c.update(num_steps=None)), r"num_steps is None"),
    "no camera": (
        edited(CONFIG, lambda c: c["input_features"].pop("observation.images.top")),
        r"input_features has no camera",
    ),
    "no action": (edited(CONFIG, lambda c: c.update(output_features={})), r"output_features has no action"),
    "a shape that is none": (
        edited(CONFIG, lambda c: c["input_features"]["observation.state"].update(shape="14")),
        r"shape of observation\.state.*'14'",
    ),
    "a chunk longer than planned": (
        edited(CONFIG, lambda c: c.update(n_action_steps=100)),
        r"LeRobot \S+ refuses it \(ValueError: .*100",
    ),
    "no tokenizer's step": (
        edited(
            PRE, lambda c: c.update(steps=[s for s in c["steps"] if "tokenizer" not in s["registry_name"]])
        ),
        r"no step tokenizer_processor",
    ),
    "nothing to normalise": (step("normalizer_processor", features={}), r"observation\.state is not among"),
    "another VLM": (
        lambda folder: (folder / "vlm/config.json").write_text('{"model_type": "llama"}'),
        r"makes no policy of it .*text_config",
    ),
    "a tokenizer that is gone": (no_vlm, r"nowhere/vlm"),
}
"""What is done to the folder, and what the error has to name."""

DATA: dict[str, tuple[Break, str]] = {
    "no table": (without("data"), r"data/"),
    "table a pointer": (pointer("data/*/*.parquet"), r"\.parquet.*git lfs pull"),
    "table cut": (cut("data/*/*.parquet"), r"\.parquet"),
    "metadata cut": (cut("meta/info.json"), r"info\.json is no JSON"),
    "no episodes": (without("meta/episodes"), r"meta/episodes|episodes"),
    "episodes a pointer": (pointer("meta/episodes/*/*.parquet"), r"git lfs pull"),
    "more episodes promised": (
        edited("meta/info.json", lambda c: c.update(total_episodes=6, total_frames=72)),
        r"6.* 4\b|4.* 6\b",
    ),
    "an older version": (
        edited("meta/info.json", lambda c: c.update(codebase_version="v2.1")),
        r"v2\.1.*convert|convert.*",
    ),
    "a feature without a shape": (
        edited("meta/info.json", lambda c: c["features"]["observation.state"].update(shape=[])),
        r"features\.observation\.state\.shape is \[\]",
    ),
    "statistics of half the joints": (
        edited("meta/stats.json", lambda c: c["action"].update(mean=c["action"]["mean"][:7])),
        r"stats\.json: action\.mean is 7 values; 14",
    ),
    "an episode that begins elsewhere": (
        table("meta/episodes/*/*.parquet", one_value("dataset_from_index", 1, 900)),
        r"dataset_from_index of row 1 is 900.* should be 12",
    ),
    "no files of episodes": (
        table("meta/episodes/*/*.parquet", no_column("data/file_index")),
        r"no column data/file_index",
    ),
    "frames in another order": (column("index", lambda v: v.reverse()), r"frame 0 of episode 0 .*index\W+47"),
    "a frame without its number": (
        column("task_index", lambda v: v.__setitem__(3, None)),
        r"column task_index has 1 missing value",
    ),
    "tasks without words": (
        table("meta/tasks.parquet", lambda whole: whole.replace_schema_metadata(None)),
        r"tasks\.parquet has 0 in the place of a task's words",
    ),
    "a NaN in a state": (column("observation.state", put(5, 2, float("nan"))), located(0, 5)),
    "an infinity in an action": (column("action", put(40, 1, float("inf"))), located(3, 4)),
    "a state that is missing": (column("observation.state", lambda v: v.__setitem__(13, None)), r"episode 1"),
}

VIDEO: dict[str, tuple[Break, str]] = {
    "video cut": (cut("videos/*/*/*.mp4", 0.3), r"\.mp4"),
    "video empty": (cut("videos/*/*/*.mp4", 0), r"\.mp4"),
    "video a pointer": (pointer("videos/*/*/*.mp4"), r"\.mp4.*git lfs pull"),
    "a frame at another time": (
        column("timestamp", lambda v: v.__setitem__(3, 99.0)),
        r"timestamp of episode 0, frame 3 is 99 seconds.*0\.3",
    ),
    "a frame at no time": (
        column("timestamp", lambda v: v.__setitem__(3, None)),
        r"timestamp of episode 0, frame 3 is nan",
    ),
    "no videos": (without("videos"), r"videos"),
}
