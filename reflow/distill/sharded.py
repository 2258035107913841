"""FSDP2: what is trained, its gradients and the optimizer's state are shared out among processes.

With ``trainer=sharded``. What is frozen is not shared out: it is the teacher's, and every process has it whole. Left
out: averages, for FSDP2 allows no copies.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from reflow.distill.module import Distillation
from reflow.errors import UserError
from reflow.policies import FlowPolicy

_METHODS = ("encode", "velocity", "walk", "end", "output", "stock_chunk")


class ShardedDistillation(Distillation):
    """A distillation whose student is sharded; the arguments are those of :class:`Distillation`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if self.average is not None:
            raise UserError(
                f"trainer=sharded with {type(self.objective).__name__}, which learns from an averaged student; "
                "choose objective=reflow or objective=endpoint, or train with trainer=default"
            )
        self.strict_loading = False  # the checkpoint holds what is trained; what is frozen is there already
        self._whole: list[FlowPolicy] = []  # in a list, so that it is no child module

    def configure_model(self) -> None:
        """Lightning's hook; called more than once."""
        if self._whole:
            return
        frozen = {parameter for parameter in self.student.parameters() if not parameter.requires_grad}
        self._whole.append(copy.deepcopy(self.student, {id(parameter): parameter for parameter in frozen}))
        # Over all processes, each with data of its own; Lightning's mesh has them share the data of a node.
        mesh = init_device_mesh(self.trainer.strategy.root_device.type, (self.trainer.world_size,))
        fully_shard(self.student, mesh=mesh, ignored_params=frozen)
        for name in _METHODS:
            register_fsdp_forward_method(self.student, name)

    @torch.no_grad()
    def trained_student(self) -> FlowPolicy:
        """See :class:`Distillation`."""
        (whole,) = self._whole
        student: Any = self.student
        student.reshard()  # after a validation it is not
        trained = dict(self.student.named_parameters())
        for name, parameter in whole.named_parameters():
            value = trained[name]
            if isinstance(value, DTensor):
                parameter.copy_(value.full_tensor())
        return whole.eval().cpu()
