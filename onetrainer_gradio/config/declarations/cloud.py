"""Settings of remote training, which OneTrainer carries out."""

from __future__ import annotations

from functools import partial

from onetrainer_gradio.config.declarations.setting import FILE_NAME_PATTERN, Settings, setting
from onetrainer_gradio.config.enums import CloudAction, CloudFileSync, CloudType

_ON = {"cloud.enabled": (True,)}
_connection = partial(setting, group="cloud", level="advanced", shown=_ON)
_remote = partial(setting, group="cloud_remote", level="advanced", shown=_ON)
_result = partial(setting, group="cloud_results", level="advanced", shown=_ON)
_machine = partial(setting, group="cloud_machine", level="advanced")
_CREATE = {**_ON, "cloud.create": (True,)}
_DETACHED = {**_ON, "cloud.detach_trainer": (True,)}


class CloudConfig(Settings):
    """Where and how OneTrainer trains remotely."""

    enabled: bool = setting(
        False,
        label="Enable cloud training",
        help="Train on a rented machine instead of this one. Only OneTrainer itself can do it, so an installed OneTrainer is needed.",
        group="cloud",
        level="advanced",
    )
    type: CloudType = _connection(
        CloudType.RUNPOD,
        label="Provider",
        help="RUNPOD can create, start and stop machines by itself; LINUX is any machine that you can reach by SSH.",
    )
    file_sync: CloudFileSync = _connection(
        CloudFileSync.NATIVE_SCP,
        label="File sync method",
        help="NATIVE_SCP uses the scp program of this machine and is fast; FABRIC_SFTP needs no program and is slower.",
        choices=("NATIVE_SCP", "FABRIC_SFTP"),
    )
    create: bool = _machine(
        False,
        label="Create instance",
        help="Rent a new machine when none with the given id is running. It costs money until it is stopped or deleted.",
        shown=_ON,
    )
    name: str = _machine(
        "OneTrainer", label="Instance name", help="Name of the new machine in the provider's list.", shown=_CREATE
    )
    tensorboard_tunnel: bool = _connection(
        True, label="TensorBoard tunnel", help="Make the remote TensorBoard reachable on the local port while the run goes on."
    )
    sub_type: str = _machine(
        "",
        label="RunPod cloud type",
        help="COMMUNITY is cheaper and run by others, SECURE lies in the provider's own centres. Empty takes either.",
        choices=("", "COMMUNITY", "SECURE"),
        labels={"": "Any", "COMMUNITY": "Community", "SECURE": "Secure"},
        shown=_CREATE,
    )
    gpu_type: str = _machine(
        "", label="GPU type", help="The provider's name of the card to rent, for instance NVIDIA RTX A6000.", shown=_CREATE
    )
    volume_size: int = _machine(
        100,
        label="Volume size",
        help="Size of the new machine's disk. It has to hold the program, the base model, the cache and the backups; 100 is enough for most.",
        unit="GB",
        ge=1,
        shown=_CREATE,
    )
    min_download: int = _machine(
        0,
        label="Min download speed",
        help="Only rent machines with at least this speed. 0 takes any; a slow one makes you wait for the base model.",
        unit="Mbit/s",
        ge=0,
        shown=_CREATE,
    )
    remote_dir: str = _remote(
        "/workspace",
        label="Remote folder",
        help="Folder on the machine that holds workspaces and uploaded files. Choose one that outlives a restart.",
    )
    huggingface_cache_dir: str = _remote(
        "/workspace/huggingface_cache",
        label="Remote Hugging Face cache folder",
        help="Folder on the machine for models fetched from the hub, so that they are fetched once.",
    )
    onetrainer_dir: str = _remote(
        "/workspace/OneTrainer",
        label="Remote OneTrainer folder",
        help="Folder on the machine in which OneTrainer is or will be installed.",
    )
    install_cmd: str = _remote(
        "git clone https://github.com/Nerogar/OneTrainer",
        label="Install command",
        help="Command that fetches OneTrainer onto the machine. Change it to use another branch or a copy of your own.",
        level="expert",
        shown={**_ON, "cloud.install_onetrainer": (True,)},
    )
    install_onetrainer: bool = _remote(
        True, label="Install OneTrainer", help="Install OneTrainer on the machine when it is not there yet."
    )
    update_onetrainer: bool = _remote(
        True,
        label="Update OneTrainer",
        help="Bring OneTrainer on the machine up to date before the run. Off keeps the version that is there.",
    )
    detach_trainer: bool = _connection(
        False,
        label="Detach remote trainer",
        help="Let the run go on when this side closes or the connection is lost. Off ends it then; on keeps costing money until it is done.",
    )
    run_id: str = _connection(
        "job1",
        label="Remote run ID",
        help="Name by which a detached run is found again. Use another one for each run.",
        shown=_DETACHED,
        file_name=True,
        pattern=FILE_NAME_PATTERN,
    )
    download_samples: bool = _result(True, label="Download samples", help="Copy sample pictures to this machine as they appear.")
    download_output_model: bool = _result(
        True,
        label="Download output model",
        help="Copy the finished file to this machine. Off leaves it over there, where it is lost with the machine.",
    )
    download_saves: bool = _result(
        True, label="Download saved checkpoints", help="Copy files saved during the run to this machine."
    )
    download_backups: bool = _result(
        False,
        label="Download backups",
        help="Copy backups to this machine. They are large; without them a run can only be continued over there.",
    )
    download_tensorboard: bool = _result(
        False, label="Download TensorBoard logs", help="Copy the log files for TensorBoard to this machine."
    )
    delete_workspace: bool = _result(
        False,
        label="Delete the remote workspace",
        help="Remove the run's folder on the machine once everything chosen above was fetched. What was not fetched is gone.",
    )
    on_finish: CloudAction = _result(
        CloudAction.NONE,
        label="Action on finish",
        help="What happens to the machine after the run. NONE lets it run on and cost money.",
    )
    on_error: CloudAction = _result(
        CloudAction.NONE,
        label="Action on error",
        help="What happens to the machine when the run fails. DELETE also loses what could be rescued.",
    )
    on_detached_finish: CloudAction = _result(
        CloudAction.NONE,
        label="Action on detached finish",
        help="The same for a run that went on after the connection was closed.",
        shown=_DETACHED,
    )
    on_detached_error: CloudAction = _result(
        CloudAction.NONE,
        label="Action on detached error",
        help="The same for a run that failed after the connection was closed.",
        shown=_DETACHED,
    )
