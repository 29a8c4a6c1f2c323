"""The command line: its options, and how mistakes are reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onetrainer_gradio import __version__, cli
from onetrainer_gradio.cli import GENERATE, PanelOptions, TrainOptions, enter_data_folder, parse
from onetrainer_gradio.errors import CommandLineError
from onetrainer_gradio.server import main


def test_without_anything_the_panel_opens_for_this_machine_alone():
    options = parse([], {})
    assert options == PanelOptions(data=Path("~/onetrainer_gradio").expanduser())
    assert (options.host, options.port, options.share, options.open_browser) == ("127.0.0.1", None, False, None)


def test_everything_can_be_said(tmp_path):
    file = tmp_path / "c.json"
    file.write_text("{}")
    words = ["--host", "0.0.0.0", "--port", "0", "--share", "--password", "long enough", "--token", "also long enough"]
    words += [
        "--config",
        str(file),
        "--data",
        str(tmp_path),
        "--in-process",
        "--backend",
        "other",
        "--allow",
        "/a",
        "--allow",
        "/b",
    ]
    words += ["--public-host", "x.example", "--open", "--log-level", "debug"]
    assert parse(words, {}) == PanelOptions(
        host="0.0.0.0",
        port=0,
        share=True,
        password="long enough",
        token="also long enough",
        data=tmp_path,
        config=file,
        in_process=True,
        backend="other",
        allow=(Path("/a"), Path("/b")),
        public_hosts=("x.example",),
        open_browser=True,
        log_level="debug",
    )


def test_secrets_and_the_data_folder_may_come_from_the_environment():
    environment = {
        "ONETRAINER_GRADIO_PASSWORD": "from outside",
        "ONETRAINER_GRADIO_TOKEN": "token from outside",
        "ONETRAINER_GRADIO_DATA": "/data",
        "SPACE_ID": "me/panel",
    }
    options = parse([], environment)
    assert (options.password, options.token, options.data, options.hosted) == (
        "from outside",
        "token from outside",
        Path("/data"),
        True,
    )
    assert parse(["--password", "given here"], environment).password == "given here"


def test_a_token_without_a_value_is_made_up():
    assert parse(["--token"], {}).token == GENERATE
    assert parse(["--token", "--demo"], {}).token == GENERATE


def test_train_has_a_line_of_its_own(tmp_path):
    words = ["train", "my.json", "--name", "x", "--max-steps", "5", "--resume", "b", "--data", str(tmp_path), "--detach"]
    options = parse(words, {})
    assert options == TrainOptions(
        config="my.json", data=tmp_path, detach=True, max_steps=5, name="x", resume=str(Path("b").absolute())
    )


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--nonsense"], "--nonsense"),
        (["--port", "x"], "'x' isn't a port"),
        (["--port", "70000"], "70000"),
        (["--config", "/no/such.json"], "/no/such.json"),
        (["--demo", "--config", __file__], "not allowed with"),
        (["--log-level", "loud"], "loud"),
        (["surplus"], "surplus"),
        (["train"], "CONFIG"),
        (["train", "c", "--max-steps", "0"], "'0'"),
        (["train", "c", "--in-process", "--detach"], "not allowed with"),
        (["--por", "1"], "--por"),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_2(words, part, capsys):
    with pytest.raises(CommandLineError):
        parse(words, {})
    assert main(words) == 2
    error_output = capsys.readouterr().err
    assert error_output.startswith("onetrainer-gradio: error: ")
    assert part in error_output
    assert len(error_output.splitlines()) == 1


def test_an_unknown_backend_is_rejected_before_anything_starts(capsys):
    assert main(["--backend", "nope"]) == 2
    assert "builtin" in capsys.readouterr().err


@pytest.mark.parametrize("parser", [cli.panel_parser, cli.train_parser, cli.convert_parser, cli.memory_parser])
def test_the_help_explains_every_option(parser):
    made = parser()
    text = made.format_help()
    assert "examples:" in text
    for action in made._actions:
        assert action.help, action
        assert any(word in text for word in action.option_strings or [action.metavar])


def test_help_and_version_print_and_end(capsys):
    for words, part in ((["--help"], "--public-host"), (["train", "--help"], "--max-steps"), (["--version"], __version__)):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert part in capsys.readouterr().out


@pytest.mark.slow
def test_the_line_is_read_without_loading_anything_heavy():
    """Help appears immediately."""
    heavy = {"torch", "gradio", "fastapi", "pydantic", "numpy"}
    code = f"import sys, onetrainer_gradio.cli; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_checkouts_are_named_and_found(tmp_path, capsys):
    """The panel accepts several checkouts, training accepts one; a missing folder is reported before anything starts."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    options = parse(["--onetrainer", str(one), "--onetrainer", str(two), "--no-find-onetrainer"], {})
    assert (options.checkouts, options.find_checkouts) == ((one, two), False)
    assert parse([], {}).find_checkouts
    assert parse(["train", "x.json", "--onetrainer", str(one)], {}).checkout == one
    assert main(["--onetrainer", str(tmp_path / "three")]) == 2
    assert "cloned or unpacked" in capsys.readouterr().err


def test_onetrainer_stays_loaded_for_as_long_as_is_set(capsys):
    """The default is ten minutes; an invalid duration is rejected by name."""
    assert parse([], {}).keep_loaded_s == 600
    assert parse(["--keep-loaded", "0"], {}).keep_loaded_s == 0
    for wrong in ("soon", "-1", "nan", "1e9"):
        assert main(["--keep-loaded", wrong]) == 2
        error_output = capsys.readouterr().err
        assert f"{wrong!r} isn't a duration: use 0 to 86400 seconds" in error_output


def test_train_does_not_ignore_who_is_to_train(tmp_path, capsys):
    """A checkout together with another backend is an error; a checkout with its own backend is not."""
    assert main(["train", "x.json", "--onetrainer", str(tmp_path), "--backend", "mine:run"]) == 2
    assert "use one of them" in capsys.readouterr().err
    assert parse(["train", "x.json", "--onetrainer", str(tmp_path), "--backend", "onetrainer"], {}).checkout == tmp_path


def test_a_data_folder_that_cannot_be_created_is_named(tmp_path, monkeypatch):
    """This holds for the panel, training and the queue; the default is the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandLineError, match=r"Can't create the data folder .*file/data: Not a directory"):
        enter_data_folder(tmp_path / "file" / "data")
    assert Path.cwd() == tmp_path
    enter_data_folder(tmp_path / "new" / "data")
    assert Path.cwd() == tmp_path / "new" / "data"


def test_memory_takes_a_configuration_and_what_to_fit_into():
    """It accepts a name or a file, and a limit above 0 GiB."""
    found = cli.parse(["memory", "my_lora.json", "--vram", "12"])
    assert isinstance(found, cli.MemoryOptions)
    assert (found.config, found.vram_gib) == ("my_lora.json", 12.0)
    for wrong in ("0", "-1", "much", "nan"):
        with pytest.raises(CommandLineError):
            cli.parse(["memory", "my_lora.json", "--vram", wrong])
