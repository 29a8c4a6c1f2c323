"""Write tiny models that caption (BLIP) and segment (CLIPSeg) images, with random weights."""

from __future__ import annotations

from pathlib import Path

from tests.models.tokenizers import clip_vocabulary, write_clip

BLIP_WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[DEC]",
    "[ENC]",
    "a",
    "red",
    "cat",
    "dog",
    "photo",
    "of",
    "blue",
    "on",
    "mat",
)


def write_blip(folder: Path) -> Path:
    """Write a BLIP captioner with 16 words."""
    import torch
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(BLIP_WORDS) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast.from_pretrained(folder, bos_token="[DEC]", additional_special_tokens=["[ENC]"])
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(BLIP_WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 256}
    ids = {"bos_token_id": 5, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3}
    torch.manual_seed(0)
    config = BlipConfig(text_config=text | ids, vision_config={**small, "image_size": 32, "patch_size": 16}, projection_dim=16)
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():  # it writes words, and no special tokens
        model.text_decoder.cls.predictions.bias[:] = torch.where(torch.arange(len(BLIP_WORDS)) < 7, -50.0, 0.0)
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BlipProcessor(BlipImageProcessorPil(size=size), tokenizer).save_pretrained(folder)
    return folder


def write_clipseg(folder: Path) -> Path:
    """Write a CLIPSeg segmenter for images of 32 pixels."""
    import torch
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, CLIPTokenizer
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    write_clip(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    vocabulary, _ = clip_vocabulary()
    ids = {"bos_token_id": len(vocabulary) - 2, "eos_token_id": len(vocabulary) - 1, "pad_token_id": len(vocabulary) - 1}
    text = {**small, "vocab_size": len(vocabulary), "max_position_embeddings": 77, **ids}
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config=text,
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    CLIPSegProcessor(processor, CLIPTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return folder
