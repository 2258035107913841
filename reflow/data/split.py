"""Which episodes are trained on, which are held out, which are left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reflow.errors import UserError


def split_episodes(
    total: int,
    episodes: Sequence[int] | None,
    val_episodes: Sequence[int] | None,
    exclude_episodes: Sequence[int] | None = None,
    *,
    empty: Collection[int] = (),
    where: str = "data",
) -> tuple[list[int], list[int]]:
    """Training and held-out episodes.

    Args:
        total: episodes in the data set.
        episodes: chosen for training; None for all that are not held out.
        val_episodes: held out; None for the last tenth of the chosen ones, at least one.
        exclude_episodes: used for neither.
        empty: episodes without a frame, left out wherever they stand.
        where: the section with these keys, for errors.

    Returns:
        Training and held-out episode numbers, disjoint.

    Raises:
        UserError: numbers out of range or given twice, an empty choice, one that contradicts another, or nothing
            left to hold out.
    """
    for name, chosen in (("episodes", episodes), ("val_episodes", val_episodes)):
        _check(f"{where}.{name}", chosen, total)
        if chosen is not None and not chosen:
            raise UserError(
                f"{where}.{name}=[] chooses no episode; give numbers from 0 to {total - 1}, or null"
            )
        if both := sorted(set(chosen or []) & set(exclude_episodes or [])):
            raise UserError(
                f"episodes {both} stand in {where}.{name} and in {where}.exclude_episodes; leave them out of one"
            )
    _check(f"{where}.exclude_episodes", exclude_episodes, total)
    unused = {*(exclude_episodes or []), *empty}
    pool = [number for number in (range(total) if episodes is None else episodes) if number not in unused]
    if val_episodes is None:
        count = max(1, len(pool) // 10)
        train, held_out = pool[:-count], pool[-count:]
    else:
        held_out = [number for number in val_episodes if number not in unused]
        overlap = sorted(set(held_out) & set(episodes or []))
        if overlap:
            raise UserError(
                f"episodes {overlap} stand in {where}.episodes and in {where}.val_episodes; held-out means held out"
            )
        train = [number for number in pool if number not in set(held_out)]
    if not train or not held_out:
        raise UserError(
            f"no episode is left to {'train on' if not train else 'hold out'}: {len(pool)} chosen, {len(held_out)} "
            f"held out{f', {len(unused)} left out' if unused else ''}; choose at least two "
            f"({where}.episodes=[0,1,...])"
        )
    return train, held_out


def _check(key: str, chosen: Sequence[int] | None, total: int) -> None:
    bad = [number for number in chosen or [] if not 0 <= number < total]
    if bad:
        raise UserError(f"{key} names {bad}, but the data set has episodes 0 to {total - 1}; leave those out")
    if len(set(chosen or [])) < len(chosen or []):
        raise UserError(f"{key} names an episode twice: {sorted(chosen or [])}")
