"""The files for proxies that no test runs are parsed by their programs, or contain what these need."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.panel_process import ROOT

FOLDER = ROOT / "deploy" / "proxies"


def test_the_documentation_names_each_file():
    text = (ROOT / "docs" / "hosting.md").read_text("utf-8")
    for path in FOLDER.iterdir():
        assert f"`deploy/proxies/{path.name}`" in text, path.name


def test_traefik_leads_to_the_panel_and_removes_the_prefix_of_clients():
    http = yaml.safe_load((FOLDER / "traefik.yml").read_text("utf-8"))["http"]
    (router,) = http["routers"].values()
    assert router["rule"] == "Host(`panel.example.org`)"
    assert http["services"][router["service"]]["loadBalancer"]["servers"] == [{"url": "http://127.0.0.1:7860"}]
    (name,) = router["middlewares"]
    assert http["middlewares"][name]["headers"]["customRequestHeaders"] == {"X-Forwarded-Prefix": ""}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh isn't installed")
def test_ssh_opens_the_tunnel_to_the_panel():
    """ssh reads the options from the file."""
    line = ["ssh", "-G", "-F", str(FOLDER / "ssh_config"), "onetrainer-panel"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=20)
    options = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert (options["hostname"], options["user"]) == ("gpu-box.example.org", "you")
    assert options["localforward"] == "[127.0.0.1]:7860 [127.0.0.1]:7860"
    assert options["exitonforwardfailure"] == "yes"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a script for the shell")
def test_tailscale_gets_the_port(tmp_path: Path):
    program = tmp_path / "tailscale"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words, expected in (([], "serve --bg 7860\n"), (["7861"], "serve --bg 7861\n")):
        done = subprocess.run([str(FOLDER / "tailscale.sh"), *words], capture_output=True, text=True, env=environment, timeout=20)
        assert done.stdout == expected
