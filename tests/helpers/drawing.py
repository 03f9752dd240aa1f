"""Whether this machine can draw with MuJoCo."""

from __future__ import annotations

import numpy as np
import pytest

from mopo_env.errors import MopoError


def _can_draw() -> bool:
    try:
        from mopo_env.real.drawing import StateRenderer

        renderer = StateRenderer("Hopper-v5", width=32, height=32)
        renderer.draw(np.r_[1.25, np.zeros(10)])
        renderer.close()
    except (ImportError, MopoError):
        return False
    return True


CAN_DRAW = _can_draw()
needs_drawing = pytest.mark.skipif(not CAN_DRAW, reason="MuJoCo cannot draw here; MUJOCO_GL=egl may help")
