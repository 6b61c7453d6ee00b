"""The simulated WidowX tabletop: arm, objects, the scenes of the paper's Table 5, a scripted expert, and the truth.

    rendering ── picks the GL library before MuJoCo is imported
    catalogue, appearance ──► scene ──► world ──► robot     what a policy meets: a `soar.robots.Robot`
                                          │
                                          ├──► ground_truth     was the task done; the answers to questions
                                          ├──► scripted         does the task by looking at the truth, or without looking
                                          └──► environment      the same world for Gymnasium: `soar/Tabletop-v0`

Importing this package registers the Gymnasium environment and imports neither MuJoCo nor a rendering library; making the
environment does:

    import gymnasium, soar.sim
    env = gymnasium.make("soar/Tabletop-v0", scene="scene1", task="put the green block in the wooden bowl", image_size=128)
"""

import gymnasium

gymnasium.register(id="soar/Tabletop-v0", entry_point="soar.sim.environment:TabletopEnv", max_episode_steps=100)
