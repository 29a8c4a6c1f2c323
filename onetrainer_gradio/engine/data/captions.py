"""Choose and augment the captions of images, with OneTrainer's draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from onetrainer_gradio.config import ConceptConfig
from onetrainer_gradio.config import patterns as regular
from onetrainer_gradio.config.dataset.caption_augmentation import augment_caption, is_augmented, matching, special_tags, tags_of
from onetrainer_gradio.config.dataset.captions import UnreadableTextError
from onetrainer_gradio.config.dataset.files import is_inside
from onetrainer_gradio.config.declarations.concept import ConceptTextConfig


@dataclass(frozen=True)
class CaptionChooser:
    """Choose one caption of an image, and augment it as the settings of its concept say."""

    text: ConceptTextConfig
    special: frozenset[str]
    augmented: bool

    @classmethod
    def of(cls, concept: ConceptConfig, captions: Iterable[str], roots: Sequence[Path] = ()) -> CaptionChooser:
        """Return the choice for a concept with these ``captions``; a file of special tags outside ``roots`` isn't read.

        Regular expressions are evaluated here once, for all tags of the concept.

        :raises PatternError: if they take too long.
        """
        text = concept.text
        listed = _listed(text, roots)
        if text.tag_dropout_enable and text.tag_dropout_special_tags_mode != "NONE" and text.tag_dropout_special_tags_regex:
            tags = dict.fromkeys(tag for caption in captions for tag in tags_of(caption, text.tag_delimiter))
            listed = matching(listed, list(tags), seconds=regular.RUN_S)
        return cls(text, frozenset(listed), is_augmented(text))

    def caption(self, captions: Sequence[str], draw: Callable[[str], Random]) -> str:
        """Return the caption for one variation of an image."""
        caption = captions[0] if len(captions) == 1 else draw("choose_caption").choice(captions)
        return augment_caption(caption, self.text, draw, self.special) if self.augmented else caption


def _listed(text: ConceptTextConfig, roots: Sequence[Path]) -> Sequence[str]:
    value = text.tag_dropout_special_tags
    if text.tag_dropout_enable and value.endswith((".txt", ".csv")) and is_inside(Path(value), roots):
        try:
            return special_tags(Path(value))
        except (OSError, UnreadableTextError):  # not a file: a tag that ends like one
            pass
    return tags_of(value, text.tag_delimiter)
