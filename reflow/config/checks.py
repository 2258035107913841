"""What every configuration is checked for: keys, and values that more than one entry point has.

A key merged by a ``+group`` file passes Hydra in silence; merging the composed configuration into dataclasses is what
rejects it.
"""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reflow.config.naming import AUTO
from reflow.demo.embedded import PREFIX

EXTENTS = ("real", "full")
MATMUL_PRECISIONS = ("highest", "high", "medium")


def check_schema(config: DictConfig, schema: type) -> None:
    """Rejects keys that a schema does not know, and values of the wrong type.

    Args:
        config: composed.
        schema: a dataclass, its sections dataclasses.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    try:
        OmegaConf.merge(OmegaConf.structured(schema), config)
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        section = key.rpartition(".")[0]
        known = OmegaConf.structured(schema)
        allowed = list(OmegaConf.select(known, section) if section else known)
        raise ValueError(
            f"configuration key {key}: {str(error).splitlines()[0]}. "
            f"Keys {'of ' + section if section else 'at the top'}: {', '.join(map(str, allowed))}"
        ) from error


def check_least(values: Iterable[tuple[str, int | None, int]]) -> None:
    """Rejects numbers that are too small.

    Args:
        values: key, value (None passes: a default will stand there), least.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    for name, value, least in values:
        if value is not None and value < least:
            raise ValueError(f"{name}={value}; allowed: {least} or more")


def check_padding(config: DictConfig) -> None:
    """Rejects answers about padding that do not exist; ``auto`` may stand for all three.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    values = {name: config.padding[name] for name in ("noise", "target", "loss")}
    for name, value in values.items():
        if value not in EXTENTS and set(values.values()) != {AUTO}:
            raise ValueError(
                f"padding.{name}={value}; allowed: {' or '.join(EXTENTS)}, or {AUTO} for all three (+fix=auto)"
            )


def check_arithmetic(config: DictConfig) -> None:
    """Rejects ways of computing that do not exist.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    if config.matmul_precision not in MATMUL_PRECISIONS:
        raise ValueError(
            f"matmul_precision={config.matmul_precision}; allowed: {', '.join(MATMUL_PRECISIONS)} "
            "(torch.set_float32_matmul_precision)"
        )


def check_own_data(config: DictConfig) -> None:
    """Refuses the embedded data set beside a teacher, or a folder, of one's own.

    Raises:
        ValueError: ``data.repo_id`` is missing.
    """
    own_teacher = not (config.teacher.path or PREFIX).startswith(PREFIX)
    if config.data.repo_id is None and (config.data.root is not None or own_teacher):
        raise ValueError(
            "data.repo_id is null, but the teacher or the data are your own; name the data set "
            "(data.repo_id=me/my_data, and data.root=DIR where it is a local folder)"
        )
