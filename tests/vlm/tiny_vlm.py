"""A LLaVA of a few thousand random weights, with a tokenizer and a chat template, saved as real checkpoints are."""

from __future__ import annotations

from pathlib import Path

import torch

TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}: {% endif %}"
)
WORDS = ("<unk>", "<pad>", "<s>", "</s>", "<image>", ":", "Is", "the", "drawer", "open?", "bowl?", "green", "block", "in")
YES, NO = len(WORDS), len(WORDS) + 1


def save_tiny_vlm(folder: Path) -> Path:
    """Write a model whose first word is nearly always Yes or No, depending on image and question in no sensible way."""
    # Imported here: it takes seconds, in every process that only collects the tests.
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    vocabulary = {word: index for index, word in enumerate((*WORDS, "Yes", "No"))}
    core = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**small, image_size=16, patch_size=8, projection_dim=16),
            text_config=LlamaConfig(
                **small, vocab_size=len(vocabulary), max_position_embeddings=256, initializer_range=0.5,
                pad_token_id=1, bos_token_id=2, eos_token_id=3,
            ),
            image_token_index=4,
            image_seq_length=4,
            vision_feature_layer=-1,
        )
    )  # fmt: skip
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        direction = 8 * torch.randn(16)
        head.zero_()
        head[YES], head[NO] = direction, -direction
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
