"""Builds contenders on request, each part of them once: policies, optimizers, data, ready pairs.

What nobody asks for is not built, so that the memory of one contender can be measured alone.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from reflow.data import LeRobotDataModule
from reflow.distill.module import Distillation
from reflow.distill.student import make_student
from reflow.endpoints.source import LiveEndpoints, Stored, StoredEndpoints
from reflow.errors import UserError
from reflow.flow import EULER, GridTime, PaddingRule, TimeSampler
from reflow.objectives import Reflow
from reflow.policies import Batch, FlowPolicy, load_policy, with_velocity
from reflow.speed.bounds import lone_loss, lone_student, ready_loss
from reflow.speed.conditions import Conditions
from reflow.speed.disk import PairsOnDisk
from reflow.speed.geometry import Place
from reflow.speed.reference import Reference, founding_student
from reflow.speed.training import Training
from reflow.speed.variants import ALONE, LIMIT, REFERENCE, STORES, Variant, draws_of


class Workshop:
    """Makes contenders in one place, under one set of conditions.

    Args:
        place: of policy and data.
        conditions: for all.
        pairs: for contenders that read them.
        beside: another workshop in the same place, whose teacher and data are used; students are one's own.
    """

    def __init__(
        self,
        place: Place,
        conditions: Conditions,
        *,
        pairs: PairsOnDisk | None = None,
        beside: Workshop | None = None,
    ) -> None:
        self.place, self.conditions, self.pairs = place, conditions, pairs
        self._folder, self._beside = Path(place.teacher), beside

    @cached_property
    def teacher(self) -> FlowPolicy:
        """The one that all contenders ask."""
        if self._beside is not None:
            return self._beside.teacher
        teacher = load_policy(self._folder, self.conditions.device).requires_grad_(False)
        return with_velocity(teacher, self.conditions.velocity)

    @cached_property
    def rule(self) -> PaddingRule:
        """Ours: everything full, as recommended."""
        return PaddingRule(self.teacher.space, "full", "full", "full")

    @cached_property
    def student(self) -> FlowPolicy:
        """Ours; its frozen prefix is the teacher's own."""
        return make_student(self.teacher, self._folder, self.rule)

    @cached_property
    def training(self) -> Training:
        """Of our student."""
        return self._train(self.student)

    @cached_property
    def founding_student(self) -> FlowPolicy:
        """The reference's: a whole policy of its own."""
        return founding_student(self._folder, self.conditions.device)

    def _train(self, student: FlowPolicy) -> Training:
        asked = self.conditions
        return Training(
            student, clip=asked.clip, warmup_steps=asked.warmup_steps, lr=asked.lr, decay=asked.decay
        )

    @cached_property
    def data(self) -> LeRobotDataModule:
        """As all contenders with live observations read them."""
        if self._beside is None:
            return self._open(self.teacher)
        data = copy.copy(self._beside.data)  # the frames in memory are the same
        data.batch_size = self.conditions.batch_size
        return data

    def _open(self, flow: FlowPolicy, **arguments: Any) -> LeRobotDataModule:
        asked = self.conditions
        arguments |= {"batch_size": asked.batch_size, "seed": asked.seed, "num_workers": 0}
        return self.place.open(flow, asked.device, **arguments)

    def module(self, draws: int, pool: int | None = None, *, stored: bool = False) -> Distillation:
        """The training step itself.

        Args:
            draws: noises per observation and step.
            pool: noises per observation in all; None for no end of them.
            stored: endpoints come with the batch.
        """
        live = LiveEndpoints(self.teacher, EULER, self.teacher.num_steps, self.rule)
        module = Distillation(
            self.teacher,
            self.student,
            Reflow(GridTime(1), draws, pool),
            StoredEndpoints() if stored else live,
            self.rule,
            seed=self.conditions.seed,
        )
        return module.to(self.conditions.device)

    def variant(self, name: str) -> Variant:
        """A contender.

        Args:
            name: of it.

        Raises:
            UserError: there is no such contender.
        """
        draws = draws_of(name, self.conditions.draws)
        if name == REFERENCE:
            return self.reference()
        if name == LIMIT:
            return self._limit(draws)
        if name == ALONE:
            return self._alone(draws)
        if name in STORES:
            return self.stored(name, draws, STORES[name])
        return self.ours(name, self.module(draws), iter(self.data.train_dataloader()))

    def stored(self, name: str, draws: int, store: str | None) -> Variant:
        """Ours, from the pair cache.

        Args:
            name: of the contender.
            draws: noises per observation and step, of all that the cache holds, again and again.
            store: what the cache gives beside the endpoints.

        Raises:
            UserError: there is no cache.
        """
        if self.pairs is None:
            raise UserError(
                f"{name} reads a pair cache, and there is none; fill one (reflow.speed.disk.fill_pairs)"
            )
        data = self._open(self.teacher, stored=Stored(self.pairs.open(store), draws, self.pairs.draws))
        module = self.module(draws, self.pairs.draws, stored=True)
        return self.ours(name, module, iter(data.train_dataloader()))

    def ours(self, name: str, module: Distillation, batches: Iterator[Batch]) -> Variant:
        """This framework's training step.

        Args:
            name: of the contender.
            module: whose step it is.
            batches: endless.
        """
        return Variant(
            name,
            self.conditions,
            module.objective.draws,
            batches,
            lambda batch: module.training_step(batch, 0)["loss"],
            self.training,
            methods=((module, "encode", "prefix"), (self.student, "velocity", "student forward")),
            fields=((self.teacher, "teacher"), (self.student, "student forward")),
        )

    def reference(
        self, name: str = REFERENCE, rule: PaddingRule | None = None, time: TimeSampler | None = None
    ) -> Variant:
        """The founding loop.

        Args:
            name: of the contender.
            rule: of padding; None for the script's.
            time: draws the times; None for LeRobot's own.
        """
        rule = rule or PaddingRule(self.teacher.space)
        loop = Reference(self.teacher, self.founding_student, rule, time=time, seed=self.conditions.seed)
        batches, training = iter(self.data.train_dataloader()), self._train(self.founding_student)
        methods = loop.timed_methods()
        return Variant(name, self.conditions, 1, batches, loop.training_step, training, methods)

    def _limit(self, draws: int) -> Variant:
        batch = next(iter(self.data.train_dataloader()))
        loss = ready_loss(self.module(draws), batch, self.conditions)
        methods = ((self.student, "velocity", "student forward"),)
        return Variant(LIMIT, self.conditions, draws, itertools.repeat({}), loss, None, methods)

    def _alone(self, draws: int) -> Variant:
        asked = self.conditions
        student = lone_student(self._folder, asked)
        methods = ((student, "encode", "prefix"), (student, "velocity", "student forward"))
        batches, loss = iter(self._open(student).train_dataloader()), lone_loss(student, asked, draws)
        return Variant(ALONE, asked, draws, batches, loss, self._train(student), methods)
