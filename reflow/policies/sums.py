"""``SHA256SUMS`` of a delivered policy: has a file changed on its way? ``sha256sum -c SHA256SUMS`` asks it, too."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from reflow.errors import UserError
from reflow.files import replace_text, sha256
from reflow.notices import warn
from reflow.policies.files import CARD

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Writes the checksums of all files of a folder, in the format of ``sha256sum``."""
    (folder / SUMS).unlink(missing_ok=True)
    files = [file for file in folder.rglob("*") if file.is_file()]
    replace_text(
        folder / SUMS, sums_text({file.relative_to(folder).as_posix(): sha256(file) for file in files})
    )


def write_card(folder: Path, text: str) -> None:
    """Puts a card into a delivered folder, and its checksum into the list; no other file is looked at."""
    replace_text(folder / CARD, text)
    if not (folder / SUMS).is_file():  # delivered before there were any
        write_sums(folder)
        return
    listed = dict(_wanted(folder)) | {CARD: sha256(folder / CARD)}
    replace_text(folder / SUMS, sums_text(listed))


def sums_text(listed: Mapping[str, str]) -> str:
    """Checksums by name, in the format of ``sha256sum``."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items()))


def files_in_sums(folder: Path) -> list[str]:
    """What the checksums of a folder are of; nothing where it has none."""
    return [name for name, _ in _wanted(folder)]


def check_sums(folder: Path, said: str) -> None:
    """Refuses weights that are not those that were written, and warns of other files that are not.

    A folder without checksums is not looked at.

    Args:
        folder: of the policy.
        said: how the user called it (``teacher.path=...``).

    Raises:
        UserError: weights have changed, or a file is missing; names it.
    """
    for name, wanted in _wanted(folder):
        file = folder / name
        if not file.is_file() and name == CARD:
            warn(f"{said}: {SUMS} names {CARD}, and {file} is not there; it says where the policy comes from")
            continue
        if not file.is_file():
            raise UserError(f"{said}: {SUMS} names {name}, and {file} is not there; copy the folder anew")
        if sha256(file) == wanted:
            continue
        if file.suffix == ".safetensors":
            raise UserError(
                f"{said}: {file} is not what was written, by its checksum in {SUMS}; copy the folder anew, or, if "
                f"the change is yours, delete {SUMS}"
            )
        warn(
            f"{said}: {file} is not what was written, by {SUMS}; if the change is not yours, copy the folder anew"
        )


def check_file(folder: Path, name: str) -> None:
    """Refuses a file that is not what was written, before it is written anew.

    Raises:
        UserError: names it.
    """
    for wanted_name, wanted in _wanted(folder):
        if wanted_name == name and sha256(folder / name) != wanted:
            raise UserError(
                f"{folder / name} is not what was written, by its checksum in {SUMS}; copy the folder anew, or, if "
                f"the change is yours, delete {SUMS}"
            )


def write_sums_of(folder: Path, names: Collection[str]) -> None:
    """Writes the checksums of these files anew, where a folder has any; the others' stay what they were."""
    known = dict(_wanted(folder))
    if names and known:
        known |= {name: sha256(folder / name) for name in names}
        replace_text(folder / SUMS, sums_text(known))


def _wanted(folder: Path) -> Iterator[tuple[str, str]]:
    path = folder / SUMS
    if not path.is_file():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); copy the folder anew") from error
    for number, line in enumerate(lines, 1):
        digest, _, name = line.partition("  ")
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if len(digest) != 64 or not Path(name).name or not inside:
            raise UserError(f"{path}, line {number} is damaged; copy the folder anew, or delete {SUMS}")
        yield name, digest
