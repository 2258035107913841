"""Where the time of a step goes: parts of it, each counted once.

A part inside another one is taken out of it, so that parts add up to the whole. What a module does is timed by a
wrapper around its own method for as long as the measurement lasts; the module knows nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch

from reflow.probes.clock import waiter

PARTS = ("data", "prefix", "teacher", "student forward", "backward", "optimizer", "rest")
REST = "rest"


class Stopwatch:
    """Seconds by part.

    Args:
        device: of the work; on a GPU every start and end of a part waits for it, unless ``coarse``.
        coarse: take no parts, so that nothing is waited for in between.
    """

    def __init__(self, device: str | torch.device = "cpu", *, coarse: bool = False) -> None:
        self._wait, self.coarse = waiter(device), coarse
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._last = 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Begins anew; what lies in no part is ``rest``."""
        self._seconds, self._open = {}, [REST]
        self._wait()
        self._last = time.perf_counter()
        yield
        self._wait()
        self._book()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A stretch of the step that belongs to a part."""
        if self.coarse or not self._open:
            yield
            return
        self._wait()
        self._book()
        self._open.append(name)
        try:
            yield
        finally:
            self._wait()
            self._book()
            self._open.pop()

    @property
    def seconds(self) -> dict[str, float]:
        """Of the last step by part."""
        return dict(self._seconds)

    def _book(self) -> None:
        now = time.perf_counter()
        part = self._open[-1]
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._last
        self._last = now

    def timed[**P, T](self, function: Callable[P, T], name: str) -> Callable[P, T]:
        """The function, its time counted as a part."""

        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.part(name):
                return function(*args, **kwargs)

        return wrapper

    @contextmanager
    def around(
        self, *methods: tuple[Any, str, str], fields: tuple[tuple[Any, str], ...] = ()
    ) -> Iterator[None]:
        """Counts calls of methods as parts while it lasts.

        Args:
            methods: object, name of the method, part.
            fields: policies whose ``field`` is asked, and the part: making a field and asking it both count.
        """
        with ExitStack() as stack:
            for owner, method, name in methods:
                stack.enter_context(_replaced(owner, method, self.timed(getattr(owner, method), name)))
            for policy, name in fields:
                stack.enter_context(_replaced(policy, "field", self._timed_field(policy.field, name)))
            yield

    def _timed_field(self, field: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
        def wrapper(context: Any) -> Any:
            with self.part(name):
                return self.timed(field(context), name)

        return wrapper


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name)
