"""LeRobot's pi0 and pi05 made small: their sizes stand in the code, so the code is changed where it is imported.

Importing this file does it, whether LeRobot's modules are there already or come later. A fresh process of the small
policies starts in :func:`environment`, whose ``sitecustomize`` imports this file.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

VOCABULARY = 400
_WIDE = int(os.environ.get("SMALL_PI_WIDTH", "32"))
"""Of the language model; a small one that is trained is wider (tests.contract.teachers)."""
WIDTH = {"gemma_2b": _WIDE, "gemma_300m": _WIDE // 2}
MODULES = tuple(f"lerobot.policies.{name}.modeling_{name}" for name in ("pi0", "pi05"))
_HERE = Path(__file__).resolve()


def environment(folder: Path) -> dict[str, str]:
    """What a process needs in its environment to have the small policies, whatever folder it loads."""
    paths = (_HERE.with_name("small_site"), _HERE.parents[3], os.environ.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(str(path) for path in paths if path)}


def shrink(module: ModuleType) -> None:
    """Makes what a modelling module of LeRobot builds small: a few thousand parameters in the place of billions.

    On the meta device, where nothing costs memory and parameters are counted, sizes stay what they are.
    """
    pali_gemma = module.PaliGemmaForConditionalGenerationWithPiGemma
    gemma = module.PiGemmaForCausalLM
    true_config = module.get_gemma_config

    def counted() -> bool:
        return module.torch.empty(0).is_meta

    def small_pali_gemma(config: Any) -> Any:
        if counted():
            return pali_gemma(config)
        eye, text = config.vision_config, config.text_config
        eye.hidden_size, eye.intermediate_size, eye.num_hidden_layers, eye.num_attention_heads = 16, 32, 1, 2
        eye.projection_dim = text.hidden_size
        text.vocab_size, text.pad_token_id = VOCABULARY, 0
        config.image_token_index = VOCABULARY - 1
        return pali_gemma(config)

    def small_gemma(config: Any) -> Any:
        if counted():
            return gemma(config)
        config.vocab_size = VOCABULARY
        return gemma(config)

    def small_config(variant: str) -> Any:
        if counted():
            return true_config(variant)
        # Eight heads are written into LeRobot's attention, one pair of keys and values into its shapes.
        return module.GemmaConfig(
            width=WIDTH[variant], depth=2, mlp_dim=2 * _WIDE, num_heads=8, num_kv_heads=1, head_dim=8
        )

    changed: dict[str, Any] = {
        "PaliGemmaForConditionalGenerationWithPiGemma": small_pali_gemma,
        "PiGemmaForCausalLM": small_gemma,
        "get_gemma_config": small_config,
    }
    vars(module).update(changed)


class _Shrinking(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds LeRobot's modules as ever, and shrinks them once they are executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            shrink(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # this one loader, for this one module
        return spec


for _name in MODULES:
    if _name in sys.modules:
        shrink(sys.modules[_name])
sys.meta_path.insert(0, _Shrinking())
