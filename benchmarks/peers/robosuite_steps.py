"""Control steps of robosuite on request; run by `benchmarks/simulation.py` in robosuite's own environment.

Arguments: image size in pixels, control rate in Hz. Reads lines {"steps", "pictures"} and answers {"seconds"} of CPU time.
"""

import json
import sys
import time

import numpy as np
import robosuite

size, rate_hz = int(sys.argv[1]), int(sys.argv[2])
env = robosuite.make(
    "PickPlaceCan",
    robots="Panda",
    has_renderer=False,
    has_offscreen_renderer=True,
    use_camera_obs=True,
    camera_names="agentview",
    camera_heights=size,
    camera_widths=size,
    control_freq=rate_hz,
    horizon=100_000,
    reward_shaping=False,
    ignore_done=True,
)
env.reset()
rng = np.random.default_rng(0)
low, high = env.action_spec
print(json.dumps({"version": robosuite.__version__}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    actions = rng.uniform(low, high, (asked["steps"], len(low)))
    start_s = time.process_time()
    for action in actions:
        env.step(action)
    print(json.dumps({"seconds": time.process_time() - start_s}), flush=True)
