"""Control steps of robosuite on request; run by `benchmarks/simulation.py` in robosuite's own environment.

Arguments: image size in pixels, control rates in Hz. Reads lines {"steps", "rate_hz"} and answers {"seconds"} of CPU time.
"""

import json
import sys
import time

import numpy as np
import robosuite

size, rates_hz = int(sys.argv[1]), [int(rate) for rate in sys.argv[2:]]
envs = {
    rate_hz: robosuite.make(
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
        ignore_done=True,
    )
    for rate_hz in rates_hz
}
for env in envs.values():
    env.reset()
rng = np.random.default_rng(0)
print(json.dumps({"version": robosuite.__version__}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    env = envs[asked["rate_hz"]]
    low, high = env.action_spec
    actions = rng.uniform(low, high, (asked["steps"], len(low)))
    start_s = time.process_time()
    for action in actions:
        env.step(action)
    print(json.dumps({"seconds": time.process_time() - start_s}), flush=True)
