"""Define the options of a run that OneTrainer's configuration has no field for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AutoResume(BaseModel):
    """Whether and how often a run that failed or crashed resumes by itself from its newest whole backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(3, ge=0, le=20, description="How often it resumes at most. 0: never.")
    first_wait_s: float = Field(
        60.0, ge=0, le=86400, description="Seconds before the first attempt. Each further one waits twice as long, at most a day."
    )
    lower_memory: bool = Field(
        False,
        description="After it ran out of GPU memory, turn on gradient checkpointing, then halve the batch size with twice the "
        "accumulation, then offload layers: one more step each time.",
    )


class Resumption(BaseModel):
    """Which run an automatic resume continues, why, and what was changed to save memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(description="ID of the run that failed.")
    attempt: int = Field(ge=1, description="Number of the automatic resume.")
    of: int = Field(ge=1, description="How many there are at most.")
    because: str = Field("", description="Why the run failed.")
    changes: tuple[str, ...] = Field((), description="Changes of settings that save memory.")


class RunOptions(BaseModel):
    """Name, limits and handling of one run. Frozen; rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="Name of the run. If empty, the name of the configuration.")
    tags: tuple[str, ...] = Field((), description="Tags to find the run by.")
    started_by: str = Field("", description="Who started the run.")
    account: str = Field("", description="ID of the account that started the run. Set by the panel.")
    backend: str = Field("", description="Backend that trains. If empty, the panel's default.")
    checkout: str = Field("", description="Folder of the OneTrainer checkout to train with. If empty, the panel's default.")
    checkout_python: str = Field("", description="Python interpreter of the checkout. Set by the panel.")
    allowed_folders: tuple[str, ...] = Field(
        (), description="Folders that images and captions may be read from. If empty, all. Set by the panel."
    )
    ignore_open_edits: bool = Field(
        False, description="Start with the current settings even if a field on an open page has an invalid value."
    )
    max_steps: int | None = Field(None, ge=1, description="Stop after this many micro-batches, regardless of epochs.")
    seed: int = Field(
        42, description="Seed of everything random that has no seed in the configuration, such as the initialization of a LoRA."
    )
    resume_from: str = Field("", description="Folder of the backup to resume from. If empty, the configuration decides.")
    resumes_run: str = Field("", description="ID of the run that this run resumes.")
    unfinished: bool = Field(
        False, description="The run that this run resumes didn't finish, so its output file may be incomplete. Set by the panel."
    )
    auto_resume: AutoResume | None = Field(
        None, description='Automatic resume after a failure. If empty, as set for the panel. `{"attempts": 0}`: never.'
    )
    resumption: Resumption | None = Field(None, description="The automatic resume that this run is. Set by the panel.")
    queue_item: str = Field("", description="ID of the queued run that this run was. Set by the panel.")
    run_id: str = Field("", description="ID of this run. Set by the panel.")
    panel_folder: str = Field("", description="Data folder of the panel, which no result may replace. Set by the panel.")
    in_process: bool = Field(False, description="Run in a thread of the panel instead of a separate process.")
    keep_loaded_s: float | None = Field(
        None, ge=0, description="Seconds that the training process stays loaded for the next run. If empty, the panel's default."
    )
    finish_step_s: float = Field(
        60.0, gt=0, description="Seconds that a stop waits for the step, the backup and the save before it interrupts the run."
    )
    interrupt_s: float = Field(
        15.0, gt=0, description="Seconds that a stop waits after the interrupt before it terminates the process."
    )
    terminate_s: float = Field(
        10.0, gt=0, description="Seconds that a stop waits after the termination before it kills the process."
    )
