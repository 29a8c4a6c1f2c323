"""Settings of remote training, kept for OneTrainer."""

from __future__ import annotations

from onetrainer_gradio.config.enums import CloudAction, CloudFileSync, CloudType
from onetrainer_gradio.config.setting import Settings, setting


class CloudConfig(Settings):
    """Where and how OneTrainer trains remotely."""

    enabled: bool = setting(False)
    type: CloudType = setting(CloudType.RUNPOD)
    file_sync: CloudFileSync = setting(CloudFileSync.NATIVE_SCP)
    create: bool = setting(False)
    name: str = setting("OneTrainer")
    tensorboard_tunnel: bool = setting(True)
    sub_type: str = setting("")
    gpu_type: str = setting("")
    volume_size: int = setting(100)
    min_download: int = setting(0)
    remote_dir: str = setting("/workspace")
    huggingface_cache_dir: str = setting("/workspace/huggingface_cache")
    onetrainer_dir: str = setting("/workspace/OneTrainer")
    install_cmd: str = setting("git clone https://github.com/Nerogar/OneTrainer")
    install_onetrainer: bool = setting(True)
    update_onetrainer: bool = setting(True)
    detach_trainer: bool = setting(False)
    run_id: str = setting("job1")
    download_samples: bool = setting(True)
    download_output_model: bool = setting(True)
    download_saves: bool = setting(True)
    download_backups: bool = setting(False)
    download_tensorboard: bool = setting(False)
    delete_workspace: bool = setting(False)
    on_finish: CloudAction = setting(CloudAction.NONE)
    on_error: CloudAction = setting(CloudAction.NONE)
    on_detached_finish: CloudAction = setting(CloudAction.NONE)
    on_detached_error: CloudAction = setting(CloudAction.NONE)
