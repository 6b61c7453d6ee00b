"""Python runs this at its start when the folder is on its path: LeRobot's environment, as `scripts/peer.sh lerobot-arm` makes it.

The wheel of torchvision registers its operators in a library that another build of torch does not load; then it cannot even be
imported. No robot uses one.
"""

from torch import library

operators = library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
