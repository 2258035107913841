"""Signals that wait until it suits: between two steps, or behind a shard.

Lightning's loops know SIGTERM alone, and tell the other ranks of it by a collective in the midst of theirs. Here a
handler only takes a note. When what is done so far is safe, the signal goes to whoever had it before: our own
commands end (:mod:`reflow.ending`), a scheduler's library asks to be requeued, Ctrl-C interrupts.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import lightning as L
import torch

from reflow.ending import STOPPING, Stopped
from reflow.errors import UserError

_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+)")  # torch says so from wherever it was


class DataWorkerDiedError(UserError):
    """A process that loads data was killed."""


class PostponedSignals:
    """SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 of one process, or of all ranks of a trainer.

    ``remember`` before Lightning's handlers are in place (a callback's ``setup``), ``postpone`` when they are (its
    ``on_train_start`` or ``on_predict_start``). Lightning puts everything back at its end. A second Ctrl-C does not
    wait.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came = 0

    def remember(self) -> None:
        """Whose the signals are."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPPING)}

    def postpone(self, trainer: L.Trainer, *, pass_on: bool = False) -> None:
        """From here on they wait.

        Args:
            trainer: whose loop it is.
            pass_on: send them to the processes that this one has launched, too, where ranks do not ask each other
                (`agreed`).
        """

        def note(number: int, frame: FrameType | None) -> None:
            if number == self._came == signal.SIGINT:
                raise KeyboardInterrupt
            launcher = trainer.strategy.launcher
            if pass_on and not self._came and number != signal.SIGINT and launcher is not None:
                launcher.kill(number)
            self._came = self._came or number

        for number, before in self._before.items():
            if before == signal.SIG_IGN:  # a job in the background, which Ctrl-C is not meant for
                continue
            now = signal.signal(number, note)
            if before == signal.SIG_DFL:  # nobody's before, Lightning's by now
                self._before[number] = now

    @property
    def came(self) -> bool:
        """Whether one waits in this process."""
        return bool(self._came)

    def agreed(self, trainer: L.Trainer) -> bool:
        """Whether one waits in any rank, and then in all of them. A collective."""
        if trainer.world_size == 1:
            return self.came
        came = torch.tensor(self._came, device=trainer.strategy.root_device)
        anywhere = int(trainer.strategy.reduce(came, reduce_op="max"))
        if anywhere and not self._came:
            self._came = anywhere
        return bool(anywhere)  # one that came meanwhile is agreed on the next time

    def hand_over(self) -> None:
        """Gives the signal that waits, if one does, to whoever had it; as a rule that raises."""
        number, self._came = self._came, 0
        if not number:
            return
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, None)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextlib.contextmanager
def going_on(where: Callable[[], str], signals: PostponedSignals | None = None) -> Iterator[None]:
    """Says where the same command goes on, if a signal, or a data worker's end, ends what is done in here.

    Args:
        where: asked then.
        signals: if one waits among them, an error is another rank's end that came first, and no fault.

    Raises:
        DataWorkerDiedError: a process that loads data was killed.
    """
    try:
        try:
            yield
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of Ctrl-C
                raise KeyboardInterrupt from end
            raise
        except Exception as error:
            if signals is not None:
                signals.hand_over()
            if (died := _WORKER.search(str(error))) is not None:
                raise DataWorkerDiedError(
                    f"a data worker (process {died[1]}) was killed, as a rule because memory ran out; {where()}; "
                    "fewer workers (data.num_workers=0) or smaller batches (data.batch_size) need less"
                ) from error
            raise
    except (KeyboardInterrupt, Stopped) as stop:
        stop.add_note(where())
        raise
