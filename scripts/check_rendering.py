"""Draw one picture without a screen; exits with 1 and says what is missing when that fails.

`--packages` prints the Debian packages that headless rendering needs instead.
"""

from __future__ import annotations

import subprocess
import sys

DRAW = """
from soar.sim.rendering import Camera, mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 2'/><camera name='front' pos='0 0 1'/><geom size='.2'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
if not Camera(model, 64).render(data).any():
    raise SystemExit("the picture is black")
"""


def main() -> int:
    """Return the exit status."""
    if "--packages" in sys.argv[1:]:
        from soar.sim.rendering import INSTALL_COMMAND

        sys.stdout.write(INSTALL_COMMAND.partition("install -y ")[2] + "\n")
        return 0
    # In a process of its own: a GL library that does not fit crashes instead of raising.
    drawing = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, timeout=120, check=False)
    if drawing.returncode:
        sys.stderr.write(drawing.stderr or f"drawing died with status {drawing.returncode}\n")
    return int(drawing.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
