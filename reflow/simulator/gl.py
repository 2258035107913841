"""Chooses MuJoCo's rendering backend before MuJoCo is imported, and says what to install where it is missing.

MuJoCo and dm_control read `MUJOCO_GL` once, at import, and fail there with an error from deep inside
PyOpenGL on a machine without a GL library. So whatever in `reflow.demo` needs the simulator imports it
inside a function, after :func:`prepare_gl`; `import reflow.demo` itself needs no GL.
"""

import ctypes.util
import os

from reflow.errors import UserError

_HINT = (
    "install the Debian packages libegl1 and libgl1-mesa-dri (apt-get install libegl1 libgl1-mesa-dri) "
    "and set MUJOCO_GL=egl"
)


def prepare_gl() -> str:
    """Sets `MUJOCO_GL=egl` where nothing is chosen and no display exists, and checks that EGL can be loaded.

    Returns:
        The value of `MUJOCO_GL` now in force; the empty string leaves the choice to MuJoCo.

    Raises:
        UserError: EGL is the backend and its library is not installed.
    """
    if not os.environ.get("MUJOCO_GL") and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl"
    backend = os.environ.get("MUJOCO_GL", "").lower()
    if backend == "egl" and ctypes.util.find_library("EGL") is None:
        raise UserError(f"MUJOCO_GL={backend}: no EGL library found on this machine; {_HINT}.")
    return backend


def no_render_error(error: Exception) -> UserError:
    """Wraps what the simulator raised at import or on its first frame; the result says what to install.

    Args:
        error: The original exception, quoted in the message.

    Returns:
        An error to raise `from` the original.
    """
    backend = os.environ.get("MUJOCO_GL", "")
    return UserError(f"MuJoCo cannot render with MUJOCO_GL={backend!r} ({error}); {_HINT}.")
