"""Policies behind openpi's websocket protocol: π₀ and whatever else is served so (`docs/how-to/your-policy.md`).

    policy      one that acts, made from a policy file with `backend: openpi`
    maps        what an observation is called there, and what the numbers of its actions are
    connection  one websocket, each exchange of which is over by a deadline
    wire        msgpack with arrays, and nothing that is pickled

The protocol is small: the server says what it is, then answers each observation with a chunk of actions; a text instead of an
answer is its traceback. Its own client, `openpi-client`, wants NumPy 1 and waits for ever, so that this one is ours.
"""
