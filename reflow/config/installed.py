"""What was asked for and is not installed here, found before anything is begun."""

from __future__ import annotations

from importlib.util import find_spec

from omegaconf import DictConfig

from reflow.errors import NotInstalledError

_LOGGERS = {  # by class: what each imports, and what installs it
    "WandbLogger": ("wandb", "reflow[wandb]"),
    "MLFlowLogger": ("mlflow", "mlflow"),
    "CometLogger": ("comet_ml", "comet_ml"),
    "NeptuneLogger": ("neptune", "neptune"),
    "TrackioLogger": ("trackio", "reflow[trackio]"),  # ours
}


def check_loggers(config: DictConfig) -> None:
    """Refuses a logger whose package is not installed.

    Raises:
        NotInstalledError: names the key, and what to install.
    """
    for name, entry in (config.logger or {}).items():
        kind = str((entry or {}).get("_target_", "")).rpartition(".")[2]
        package, source = _LOGGERS.get(kind, (None, ""))
        if package is not None and find_spec(package) is None:
            raise NotInstalledError(
                f"logger.{name} needs {package}, which is not installed: pip install '{source}', or go without "
                f"(logger=default, or logger.{name}=null)"
            )
