"""Declare the settings of remote training, which requires OneTrainer."""

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
    """Where and how OneTrainer trains on a cloud instance."""

    enabled: bool = setting(
        False,
        label="Enable cloud training",
        help="Train on a rented GPU instead of on this machine. Only OneTrainer supports this, so you need a OneTrainer installation.",
        group="cloud",
        level="advanced",
    )
    type: CloudType = _connection(
        CloudType.RUNPOD,
        label="Provider",
        help="“RunPod” can create, start and stop instances by itself. “Linux (SSH)” is any machine that you can reach with SSH.",
    )
    file_sync: CloudFileSync = _connection(
        CloudFileSync.NATIVE_SCP,
        label="File sync method",
        help="How files are transferred. “Native scp” uses the scp program of this machine and is fast. “Fabric SFTP” needs no program but is slower.",
        choices=("NATIVE_SCP", "FABRIC_SFTP"),
    )
    create: bool = _machine(
        False,
        label="Create instance",
        help="Rent a new instance if none with the given ID is running. It costs money until it is stopped or deleted.",
        shown=_ON,
    )
    name: str = _machine(
        "OneTrainer", label="Instance name", help="Name of the new instance in the provider's list.", shown=_CREATE
    )
    tensorboard_tunnel: bool = _connection(
        True, label="TensorBoard tunnel", help="Make the remote TensorBoard reachable on the local port during the run."
    )
    sub_type: str = _machine(
        "",
        label="RunPod cloud type",
        help="“Community” instances are cheaper and run by third parties. “Secure” instances are in the provider's own data centers. “Any” uses either.",
        choices=("", "COMMUNITY", "SECURE"),
        labels={"": "Any", "COMMUNITY": "Community", "SECURE": "Secure"},
        shown=_CREATE,
    )
    gpu_type: str = _machine(
        "", label="GPU type", help="The provider's name of the GPU to rent, such as NVIDIA RTX A6000.", shown=_CREATE
    )
    volume_size: int = _machine(
        100,
        label="Volume size",
        help="Disk size of the new instance. It has to hold OneTrainer, the base model, the cache and the backups. 100 GB is enough for most runs.",
        unit="GB",
        ge=1,
        shown=_CREATE,
    )
    min_download: int = _machine(
        0,
        label="Min download speed",
        help="Rent only instances with at least this download speed. 0 accepts any. On slow instances, downloading the base model takes long.",
        unit="Mbit/s",
        ge=0,
        shown=_CREATE,
    )
    remote_dir: str = _remote(
        "/workspace",
        label="Remote folder",
        help="Folder on the instance for workspaces and uploaded files. Choose one that survives a restart.",
    )
    huggingface_cache_dir: str = _remote(
        "/workspace/huggingface_cache",
        label="Remote Hugging Face cache folder",
        help="Folder on the instance for models from the Hugging Face Hub, so that each is downloaded only once.",
    )
    onetrainer_dir: str = _remote(
        "/workspace/OneTrainer",
        label="Remote OneTrainer folder",
        help="Folder on the instance where OneTrainer is or will be installed.",
    )
    install_cmd: str = _remote(
        "git clone https://github.com/Nerogar/OneTrainer",
        label="Install command",
        help="Command that downloads OneTrainer to the instance. Change it to use another branch or your own fork.",
        level="expert",
        shown={**_ON, "cloud.install_onetrainer": (True,)},
    )
    install_onetrainer: bool = _remote(
        True, label="Install OneTrainer", help="Install OneTrainer on the instance if it isn't installed yet."
    )
    update_onetrainer: bool = _remote(
        True,
        label="Update OneTrainer",
        help="Update OneTrainer on the instance before the run. If off, the installed version is used.",
    )
    detach_trainer: bool = _connection(
        False,
        label="Detach remote trainer",
        help="Keep training if this side closes or the connection is lost. If off, the run ends then. If on, the instance costs money until the run ends.",
    )
    run_id: str = _connection(
        "job1",
        label="Remote run ID",
        help="ID by which a detached run is found again. Use another one for each run.",
        shown=_DETACHED,
        file_name=True,
        pattern=FILE_NAME_PATTERN,
    )
    download_samples: bool = _result(
        True, label="Download samples", help="Download samples to this machine as they are generated."
    )
    download_output_model: bool = _result(
        True,
        label="Download output model",
        help="Download the final model to this machine. If off, it stays on the instance and is lost with it.",
    )
    download_saves: bool = _result(
        True, label="Download saved checkpoints", help="Download checkpoints that are saved during the run to this machine."
    )
    download_backups: bool = _result(
        False,
        label="Download backups",
        help="Download backups to this machine. They are large. Without them, you can resume a run only on the instance.",
    )
    download_tensorboard: bool = _result(
        False, label="Download TensorBoard logs", help="Download the TensorBoard logs to this machine."
    )
    delete_workspace: bool = _result(
        False,
        label="Delete the remote workspace",
        help="Delete the run's folder on the instance after the selected downloads. What was not downloaded is lost.",
    )
    on_finish: CloudAction = _result(
        CloudAction.NONE,
        label="Action on finish",
        help="What to do with the instance after the run. While it keeps running, it costs money.",
    )
    on_error: CloudAction = _result(
        CloudAction.NONE,
        label="Action on error",
        help="What to do with the instance if the run fails. “Delete” also deletes what you could have rescued.",
    )
    on_detached_finish: CloudAction = _result(
        CloudAction.NONE,
        label="Action on detached finish",
        help="What to do with the instance when a run finishes while it is detached.",
        shown=_DETACHED,
    )
    on_detached_error: CloudAction = _result(
        CloudAction.NONE,
        label="Action on detached error",
        help="What to do with the instance if a run fails while it is detached.",
        shown=_DETACHED,
    )
