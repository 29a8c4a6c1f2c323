"""Tokens and passwords; they never leave the server and never enter a saved configuration."""

from __future__ import annotations

from onetrainer_gradio.config.setting import Settings, setting


class CloudSecretsConfig(Settings):
    """Access to a rented machine."""

    api_key: str = setting("")
    id: str = setting("")
    host: str = setting("")
    port: str = setting(0)
    user: str = setting("root")
    key_file: str = setting("")
    password: str = setting("")


class SecretsConfig(Settings):
    """Access to model hubs and machines."""

    huggingface_token: str = setting("")
    cloud: CloudSecretsConfig = setting(CloudSecretsConfig())
