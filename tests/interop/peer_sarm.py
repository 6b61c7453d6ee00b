"""Runs under the Python of `scripts/peer.sh lerobot-policies`: SARM of the released LeRobot 0.4.4 looks at a dataset of ours.

    python peer_sarm.py REPO_ID SCRATCH CAMERA

The dataset lies in $HF_LEROBOT_HOME/REPO_ID, where `sarm_progress.parquet` is left. Its weights are downloads, and so are those
of the CLIP that it looks through: here both are tiny and random.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import library, manual_seed

# The wheel of torchvision registers its operators in a library that another build of torch does not load.
_operators = library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from huggingface_hub import constants  # noqa: E402
from lerobot.policies.sarm import compute_rabc_weights  # noqa: E402
from lerobot.policies.sarm.configuration_sarm import SARMConfig  # noqa: E402
from lerobot.policies.sarm.modeling_sarm import SARMRewardModel  # noqa: E402
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast  # noqa: E402

CLIP = "openai/clip-vit-base-patch32"


def put_clip() -> None:
    """Put a tiny CLIP where one of that name would have been downloaded to."""
    folder = Path(constants.HF_HUB_CACHE) / f"models--{CLIP.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary, merges = snapshot / "vocab.json", snapshot / "merges.txt"
    vocabulary.write_text(json.dumps({word: number for number, word in enumerate(words)}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast(str(vocabulary), str(merges), model_max_length=77)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config=small, projection_dim=512)).save_pretrained(snapshot)
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(snapshot)


def main() -> None:
    """Make the models, and let LeRobot's own program compute the progress."""
    repo, scratch, camera = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    manual_seed(0)
    put_clip()
    config = SARMConfig(
        hidden_dim=24, num_heads=2, num_layers=1, image_key=camera, frame_gap=1, device="cpu", push_to_hub=False
    )
    SARMRewardModel(config).save_pretrained(scratch / "sarm")
    compute_rabc_weights.compute_sarm_progress(
        repo, str(scratch / "sarm"), device="cpu", num_visualizations=0, output_dir=str(scratch / "pictures")
    )


if __name__ == "__main__":
    main()
