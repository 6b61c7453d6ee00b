"""Python runs this at its start when its folder is on the path, which the one of `scripts/peer.sh lerobot-arm` needs.

The wheel of torchvision registers its operators in a library that another build of torch does not load; then it cannot even be
imported. No robot uses one.
"""

from torch import library

operators = library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
