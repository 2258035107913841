"""Where the Hydra configuration lies: in a wheel as `reflow/conf`, in a checkout beside the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PACKAGED = _PACKAGE / "conf"

CONFIG_DIR: str = str(_PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent / "conf")
"""Absolute path of the configuration folder, for `hydra.main(config_path=CONFIG_DIR)`."""
