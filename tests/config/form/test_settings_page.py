"""The page of all settings is generated from the declarations and up to date."""

from onetrainer_gradio.config.declarations.catalog import CATALOGUE
from onetrainer_gradio.config.declarations.groups import GROUPS
from onetrainer_gradio.config.form.settings_page import IMAGE_FOLDER, PAGE, settings_page

TEXT = settings_page()


def test_the_committed_page_is_up_to_date():
    """Run ``python -m onetrainer_gradio.config.form.settings_page`` after changing a declaration."""
    assert PAGE.read_text(encoding="utf-8") == TEXT


def test_every_group_is_shown_wide_and_narrow():
    """Run ``python docs/settings_screenshots.py`` after adding a group; together the screenshots stay below 3 MB."""
    wanted = {f"{group.key}-{size}.webp" for group in GROUPS for size in ("wide", "narrow")}
    there = {path.name: path.stat().st_size for path in (PAGE.parent / IMAGE_FOLDER).iterdir()}
    assert set(there) == wanted
    assert all(f"{IMAGE_FOLDER}/{name}" in TEXT for name in wanted)
    assert sum(there.values()) < 3_000_000


def test_every_path_is_on_the_page():
    """It has all 582, whether in the form or not; an object is listed by its fields."""
    assert [path for path, entry in CATALOGUE.items() if not entry.nested and f"`{path}`" not in TEXT] == []


def test_a_row_reports_default_values_level_and_condition():
    """A row explains what a setting does, its values and when it applies."""
    (row,) = [line for line in TEXT.splitlines() if "`ema_decay`" in line]
    for words in (
        "**EMA decay**",
        "`0.999`",
        "number from 0.5 to 1",
        "advanced",
        "*Only if EMA is GPU or CPU.*",
    ):
        assert words in row
    (row,) = [line for line in TEXT.splitlines() if "`vb_loss_strength`" in line]
    assert "*Only for models that predict the variance: PixArt Alpha, PixArt Sigma.*" in row
    (row,) = [line for line in TEXT.splitlines() if "`train_device`" in line]
    assert "detected" in row


def test_no_cell_breaks_its_table():
    """Every row of a table has as many cells as its header."""
    cells = 0
    for line in TEXT.splitlines():
        if not line.startswith("| "):
            cells = 0
            continue
        count = line.replace("\\|", "").count("|")
        assert cells in (0, count), line
        cells = count
