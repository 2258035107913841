"""Stock LeRobot alone with a policy's folder: run as a script, in a process that has no reflow and no network.

    python -P alone.py FOLDER OBSERVATIONS ANSWERS THREADS

Observations are a safetensors file with their tensors as ``NUMBER/KEY`` and their tasks in its metadata; the answers
hold what was played of each first chunk, as the policy gives it and as the robot is told it. From here on no
connection is opened, whatever a library tries. Left out: what to compare the answers with
(:mod:`reflow.bundle.proof`).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

CONNECTING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


def played(policy: Any, batch: dict[str, Any], seed: int) -> Tensor:
    """The actions of a first chunk, ``[n_action_steps, o]``, as LeRobot's ``select_action`` gives them one by one.

    Args:
        policy: LeRobot's.
        batch: one observation, preprocessed.
        seed: of torch's generator, by which the policy draws its noise.
    """
    policy.reset()
    torch.manual_seed(seed)
    with torch.inference_mode():
        actions = [policy.select_action(dict(batch)) for _ in range(policy.config.n_action_steps)]
    policy.reset()
    return torch.cat(actions).float().cpu()


def refuse_connections() -> None:
    """From now on this process opens no connection: Python asks, and is told no."""

    def hook(event: str, arguments: Any) -> None:
        if event in CONNECTING:
            raise OSError(f"the network is off here, and something asked for it: {event} {arguments[1:]}")

    sys.addaudithook(hook)


def main(folder: str, observations: str, answers: str, threads: str) -> None:
    """Acts on every observation, and writes what was done."""
    refuse_connections()
    torch.set_num_threads(int(threads))
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.utils.import_utils import register_third_party_plugins

    register_third_party_plugins()  # as LeRobot's own commands begin
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder).eval()
    here = {"device_processor": {"device": "cpu"}}
    preprocess, postprocess = make_pre_post_processors(
        policy.config, pretrained_path=folder, preprocessor_overrides=here, postprocessor_overrides=here
    )
    found: dict[str, Tensor] = {}
    with safe_open(observations, "pt") as file:
        names = list(file.keys())
        for number, task in enumerate(json.loads(file.metadata()["tasks"])):
            begin = f"{number}/"
            seen = {
                name.removeprefix(begin): file.get_tensor(name) for name in names if name.startswith(begin)
            }
            chunk = played(policy, preprocess({**seen, "task": task}), number)
            found[f"{number}/chunk"] = chunk
            found[f"{number}/told"] = torch.cat([postprocess(action[None]) for action in chunk]).float().cpu()
    assert not any(name.partition(".")[0] == "reflow" for name in sys.modules)
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
