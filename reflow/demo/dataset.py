"""What the demo's data sets hold: the camera above, 14 joints, one sentence."""

from reflow.data.recording import Layout
from reflow.data.shrink import shrunk_size
from reflow.demo.kinematics import ARM_JOINTS
from reflow.demo.scene import FPS, FRAME_HEIGHT, FRAME_WIDTH

TASK = "pick up the cube"
BOX = 96  # pixels: the square that the demo's SmolVLA sees
JOINT_NAMES = [f"{arm}_{joint}" for arm in ("left", "right") for joint in (*ARM_JOINTS, "gripper")]
CAMERA = "observation.images.top"
SIZE = shrunk_size(FRAME_HEIGHT, FRAME_WIDTH, BOX)
PICK = Layout(
    robot_type="aloha",
    fps=FPS,
    cameras={CAMERA: SIZE},
    state=JOINT_NAMES,
    action=JOINT_NAMES,
)
