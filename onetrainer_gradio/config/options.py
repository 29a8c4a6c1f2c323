"""Define the options of a run that OneTrainer's configuration has no field for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RunOptions(BaseModel):
    """Name, limits and handling of one run. Frozen; rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="A name for people; empty takes the name of the configuration.")
    tags: tuple[str, ...] = Field((), description="Words to find the run by.")
    started_by: str = Field("", description="Who started the run.")
    backend: str = Field("", description="Which backend carries the run out; empty takes the panel's own.")
    checkout: str = Field("", description="Folder of the OneTrainer checkout to train with; empty takes the panel's own.")
    checkout_python: str = Field("", description="Python that runs the checkout; the panel writes it, from what it knows.")
    allowed_folders: tuple[str, ...] = Field(
        (), description="Folders that images and captions may be read from; the panel writes it. Empty allows all."
    )
    ignore_open_edits: bool = Field(
        False, description="Start the current settings although a field of an open page holds a value that can't be used."
    )
    max_steps: int | None = Field(None, ge=1, description="End after so many micro-batches, whatever the epochs say.")
    seed: int = Field(42, description="Seed of everything random that the configuration does not seed: adapter initialisation.")
    resume_from: str = Field(
        "", description="Folder of the backup to go on from; empty starts anew or follows the configuration."
    )
    resumes_run: str = Field("", description="Id of the run that this one goes on from.")
    run_id: str = Field("", description="Id of this run; the panel sets it.")
    panel_folder: str = Field("", description="Data folder of the panel, which no result may replace; the panel writes it.")
    in_process: bool = Field(False, description="Run on a thread of the panel instead of a process of its own.")
    keep_loaded_s: float | None = Field(
        None, ge=0, description="Seconds that OneTrainer stays loaded afterwards, for the next run; empty takes the panel's own."
    )
    finish_step_s: float = Field(60.0, gt=0, description="Seconds that a stop waits for the step, the backup and the save.")
    interrupt_s: float = Field(15.0, gt=0, description="Seconds between the interrupt and the termination of a stop.")
    terminate_s: float = Field(10.0, gt=0, description="Seconds between the termination and the kill of a stop.")
