"""Robots of LeRobot, by their type: `driver: lerobot` in a robot's file (docs/how-to/lerobot.md).

    driver       options, and what is wrong with them              library    LeRobot's types, plug-ins and configurations
    robot        order, pace, faults, home and rest                reach      whether the arm can reach its box
    steering     delta poses ─► joint targets, at 30 Hz or more    motors     what their registers tell, and reboots
    kinematics   where the gripper is, and back (mink)             arms       model, joints, home and limits of an arm

LeRobot's pins contradict those of SOAR, so that this runs in LeRobot's own environment, behind `soar robot serve`, and needs
the extra `lerobot` there (mink, and the model of an SO-101). Nothing of it is imported before a robot's file asks for it.
"""
