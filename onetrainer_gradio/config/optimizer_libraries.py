"""List the library that each optimizer comes from. Nothing is imported: the panel can ask what is installed without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from onetrainer_gradio.config.enums import Optimizer

PACKAGE = "onetrainer_gradio"
_O = Optimizer


@dataclass(frozen=True)
class Library:
    """A library by the name of its package, and the extra of this package that installs it.

    Without an extra, it is always installed, or installed by its own name.
    """

    package: str
    extra: str = ""
    options: str = ""
    """Options of pip that its installation requires."""

    @property
    def installed(self) -> bool:
        """Whether the package is installed in this Python."""
        # not find_spec: the package “muon-optimizer” and an unrelated one both provide a module “muon”
        try:
            distribution(self.package)  # the version would be read from its metadata, which takes ten times as long
        except PackageNotFoundError:
            return False
        return True

    @property
    def needs_gpu(self) -> bool:
        """Whether its optimizers have no implementation for the CPU."""
        return self.extra == "gpu"

    @property
    def command(self) -> str:
        """Return the command that installs it."""
        return f'pip install "{PACKAGE}[{self.extra}]"' if self.extra else f"pip install {self.options} {self.package}"


_OPTIMIZERS_OF: Mapping[Library, tuple[Optimizer, ...]] = {
    Library("torch"): (_O.ADAM, _O.ADAMW, _O.SGD, _O.CAME, _O.CAME_8BIT),
    Library("transformers"): (_O.ADAFACTOR,),
    Library("adv-optm", "optimizers"): (
        _O.ADAMW_ADV,
        _O.ADOPT_ADV,
        _O.LION_ADV,
        _O.SIGNSGD_ADV,
        _O.PRODIGY_ADV,
        _O.MUON_ADV,
        _O.ADAMUON_ADV,
    ),
    Library("dadaptation", "optimizers"): (
        _O.DADAPT_ADA_GRAD,
        _O.DADAPT_ADAM,
        _O.DADAPT_ADAN,
        _O.DADAPT_LION,
        _O.DADAPT_SGD,
    ),
    Library("lion-pytorch", "optimizers"): (_O.LION,),
    Library("muon-optimizer", "optimizers"): (_O.MUON,),
    Library("prodigyopt", "optimizers"): (_O.PRODIGY,),
    Library("prodigy-plus-schedule-free", "optimizers"): (_O.PRODIGY_PLUS_SCHEDULE_FREE,),
    Library("pytorch-optimizer", "optimizers"): (_O.ADOPT, _O.TIGER, _O.AIDA, _O.YOGI),
    Library("schedulefree", "optimizers"): (_O.SCHEDULE_FREE_ADAMW, _O.SCHEDULE_FREE_SGD),
    # its optimizers need nothing but torch, while its models need a torchvision that fits the installed torch
    Library("timm", options="--no-deps"): (_O.ADABELIEF,),
    Library("bitsandbytes", "gpu"): (
        _O.ADAGRAD,
        _O.ADAGRAD_8BIT,
        _O.ADAM_8BIT,
        _O.ADAMW_8BIT,
        _O.AdEMAMix,
        _O.AdEMAMix_8BIT,
        _O.LAMB,
        _O.LAMB_8BIT,
        _O.LARS,
        _O.LARS_8BIT,
        _O.LION_8BIT,
        _O.RMSPROP,
        _O.RMSPROP_8BIT,
        _O.SGD_8BIT,
    ),
}

LIBRARIES: Mapping[Optimizer, Library] = {
    optimizer: library for library, optimizers in _OPTIMIZERS_OF.items() for optimizer in optimizers
}
