"""Other formats of the same data: RLDS, raw trajectory folders and LeRobotDataset v3.0, read into a store and written from one.

Files hold N steps, each with an observation and an action. Here they are N observations and N - 1 actions: what the last action
led to was never recorded. It is kept in the episode's `origin`, so that an export has it again.
"""
