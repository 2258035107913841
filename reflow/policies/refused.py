"""LeRobot policies that cannot be distilled here, each with the reason."""

from __future__ import annotations

REFUSED: dict[str, str] = {
    "act": "one forward pass gives its chunk, there are no steps to save",
    "diffusion": "its network predicts the noise of a DDPM or DDIM schedule, and is no velocity field; retrain it as "
    "multi_task_dit with policy.objective=flow_matching",
    "fastwam": "LeRobot loads the video autoencoder that it sees with from a hub id written in its code, whatever "
    "the folder says, so neither teacher nor student stands on its own, and no small one can be checked",
    "gaussian_actor": "one forward pass gives the mean and the spread of an action, there are no steps to save",
    "lingbot_va": "it generates video and then actions under guidance, and carries its state over from chunk to "
    "chunk: a chunk is no function of one observation and one noise",
    "molmoact2": "LeRobot builds it from a second checkpoint (checkpoint_path) whose weights it loads first, and "
    "runs its action expert inside the generation of tokens; no small one was checked, so no split is known exact",
    "pi0_fast": "it writes its actions as tokens, one after the other, and integrates nothing",
    "tdmpc": "it plans every action with a model of the world, and integrates nothing",
    "vqbet": "it chooses among learned codes of actions in one forward pass, and integrates nothing",
    "wall_x": "LeRobot always integrates it in ten steps (the number stands in its code, and no setting reaches it), "
    "so a student of fewer could not be deployed",
}
"""By LeRobot's type name; a reason reads on after "cannot be distilled:"."""
