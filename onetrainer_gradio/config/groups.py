"""The groups that settings belong to, in the order in which the form shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A group of settings: its key in the declarations, its title, and one sentence on what it is for."""

    key: str
    title: str
    about: str


GROUPS: tuple[Group, ...] = (
    Group("model", "Model", "What to start from and what comes out."),
    Group("concepts", "Concepts", "The pictures to learn from."),
    Group("data", "Data", "How pictures are prepared."),
    Group("optimization", "Training", "How long, how fast and by which rule."),
    Group("lora", "Adapter", "Size and place of what is trained."),
    Group("unet", "UNet", "The part that paints."),
    Group("text_encoder", "Text encoder", "The part that reads the prompt."),
    Group("precision", "Precision and EMA", "Number formats and the moving average."),
    Group("noise", "Noise", "Which noise levels are practised."),
    Group("loss", "Loss", "How deviation is measured."),
    Group("sampling", "Samples", "Pictures painted during the run."),
    Group("backup", "Backups and saves", "What is kept on the way."),
    Group("general", "General", "Folders, device and the like."),
)
