"""Define a run: its settings, their declarations and files, and everything about them that needs no torch."""

from onetrainer_gradio.config.declarations.concept import ConceptConfig
from onetrainer_gradio.config.declarations.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.declarations.part import TrainModelPartConfig
from onetrainer_gradio.config.declarations.sample import SampleConfig
from onetrainer_gradio.config.declarations.train import TrainConfig
from onetrainer_gradio.config.options import RunOptions

__all__ = ["ConceptConfig", "RunOptions", "SampleConfig", "TrainConfig", "TrainModelPartConfig", "TrainOptimizerConfig"]
