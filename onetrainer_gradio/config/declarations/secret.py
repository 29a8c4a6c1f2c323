"""Declare tokens and passwords, which never leave the server and are never saved with a configuration."""

from __future__ import annotations

from functools import partial

from onetrainer_gradio.config.declarations.setting import Settings, setting

_secret = partial(setting, kind="secret", group="cloud", level="advanced", shown={"cloud.enabled": (True,)})


class CloudSecretsConfig(Settings):
    """Credentials of a cloud instance."""

    api_key: str = _secret(
        "", label="API key", help="API key of your account at the provider, needed to find, start and stop instances."
    )
    id: str = _secret(
        "", label="Instance ID", help="The provider's ID of the instance to use. Leave it empty to create a new one."
    )
    host: str = _secret(
        "", label="Host", help="Hostname or IP address of the instance. Leave it empty to get it from the provider."
    )
    port: str = _secret(0, label="Port", help="SSH port of the instance, usually 22. Set it to 0 to get it from the provider.")
    user: str = _secret("root", label="User", help="User name for the login, root on most rented instances.")
    key_file: str = _secret(
        "", label="SSH key file", help="File with the private SSH key. Leave it empty to use this machine's SSH keys."
    )
    password: str = _secret("", label="SSH password", help="Password for the login if you don't use a key. A key is safer.")


class SecretsConfig(Settings):
    """Credentials of the Hugging Face Hub and of cloud instances."""

    huggingface_token: str = setting(
        "",
        label="Hugging Face token",
        help="Access token for gated models on the Hugging Face Hub. It stays on the server and is never saved with a configuration.",
        group="model",
        level="advanced",
        kind="secret",
    )
    cloud: CloudSecretsConfig = setting(
        CloudSecretsConfig(),
        label="Cloud credentials",
        help="How to connect to the instance.",
        group="cloud",
        kind="object",
    )
