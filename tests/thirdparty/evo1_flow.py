"""An adapter in a distribution of somebody's own, installed beside reflow and named by an entry point.

Whoever writes one derives from :class:`reflow.policies.FlowPolicy`; this one starts from ours for the same policy,
which it replaces, and adds what somebody might want of their own robots: a parameter group with another name.
"""

from reflow.policies.evo1 import Evo1Flow


class MyEvo1Flow(Evo1Flow):
    """EVO-1 with its state encoder in a group called ``robot``."""

    def prefix_groups(self) -> dict[str, list[str]]:
        groups = dict(super().prefix_groups())
        groups["robot"] = groups.pop("state_encoder")
        return groups
