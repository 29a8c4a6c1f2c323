"""Tokens and passwords; they never leave the server and never enter a saved configuration."""

from __future__ import annotations

from functools import partial

from onetrainer_gradio.config.declarations.setting import Settings, setting

_secret = partial(setting, kind="secret", group="cloud", level="advanced", shown={"cloud.enabled": (True,)})


class CloudSecretsConfig(Settings):
    """Access to a rented machine."""

    api_key: str = _secret(
        "", label="API key", help="Key of your account at the provider, needed to find, start and stop machines."
    )
    id: str = _secret("", label="Instance ID", help="The provider's id of the machine to use. Empty when a new one is created.")
    host: str = _secret("", label="Host", help="Name or address of the machine. Empty asks the provider for it.")
    port: str = _secret(0, label="Port", help="SSH port of the machine, usually 22. 0 asks the provider for it.")
    user: str = _secret("root", label="User", help="User to log in as, root on most rented machines.")
    key_file: str = _secret(
        "", label="SSH key file", help="File with the private key. Empty uses the keys of this machine's SSH."
    )
    password: str = _secret("", label="SSH password", help="Password for the login, where no key is used. A key is safer.")


class SecretsConfig(Settings):
    """Access to model hubs and machines."""

    huggingface_token: str = setting(
        "",
        label="Hugging Face token",
        help="Needed for models that ask you to agree to their terms first. It stays on the server and is never saved with a configuration.",
        group="model",
        level="advanced",
        kind="secret",
    )
    cloud: CloudSecretsConfig = setting(
        CloudSecretsConfig(),
        label="Cloud credentials",
        help="How to reach the rented machine.",
        group="cloud",
        kind="object",
    )
