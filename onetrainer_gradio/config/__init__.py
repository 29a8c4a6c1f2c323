"""What a run is: the settings, their declaration, their files, and what can be said of them without torch."""

from onetrainer_gradio.config.concept import ConceptConfig
from onetrainer_gradio.config.optimizer import TrainOptimizerConfig
from onetrainer_gradio.config.options import RunOptions
from onetrainer_gradio.config.part import TrainModelPartConfig
from onetrainer_gradio.config.sample import SampleConfig
from onetrainer_gradio.config.train import TrainConfig

__all__ = ["ConceptConfig", "RunOptions", "SampleConfig", "TrainConfig", "TrainModelPartConfig", "TrainOptimizerConfig"]
