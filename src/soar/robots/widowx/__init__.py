"""A WidowX 250 behind the server that its labs run, as a robot: `driver: widowx` in a workcell's file (docs/how-to/widowx.md).

    driver     the robot: order, pace, lag, what is believed    recovery    back to home, reboots
    servers    which dialect a server speaks                    replies     numbers, motors and pictures that come back
    bridge, manipulator   what each is told, and tells          wire        one request at a time, with a time limit

Needs the extra `widowx` (pyzmq, lz4). Nothing of it is imported before a workcell asks for it.
"""
