"""Credentials of the panel stay in its process."""

from onetrainer_gradio.panel_secrets import without_panel_secrets
from onetrainer_gradio.service.host.module_process import child_environment


def test_processes_of_a_run_do_not_get_what_opens_the_panel(monkeypatch):
    """The password and token are removed from the environment, everything else is passed on, and the panel keeps its own."""
    environment = {"ONETRAINER_GRADIO_PASSWORD": "a", "ONETRAINER_GRADIO_TOKEN": "b", "ONETRAINER_GRADIO_DATA": "c", "PATH": "d"}
    assert without_panel_secrets(environment) == {"ONETRAINER_GRADIO_DATA": "c", "PATH": "d"}
    assert len(environment) == 4
    monkeypatch.setenv("ONETRAINER_GRADIO_TOKEN", "b")
    assert "ONETRAINER_GRADIO_TOKEN" not in child_environment({"HF_TOKEN": "e"})
    assert child_environment({"HF_TOKEN": "e"})["HF_TOKEN"] == "e"
