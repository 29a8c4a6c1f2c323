"""The metrics of each step: appended, read in ranges, and charted by minimum and maximum."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetrainer_gradio.events import StepDone
from onetrainer_gradio.service.runs.metrics import FIXED_COLUMNS, LowestLoss, MetricsReader, MetricsWriter, column_names


def step(number: int, loss: float = 0.5, rates: tuple[float, ...] = (1e-4,), grad_norm: float | None = 1.0) -> StepDone:
    return StepDone(
        at=float(number),
        update_step=number,
        global_step=2 * number,
        epoch=0,
        epoch_step=number,
        epoch_sample=number,
        loss=loss,
        smooth_loss=loss,
        grad_norm=grad_norm,
        learning_rates=rates,
        seconds=0.1,
        images=4,
    )


def write(path: Path, losses: list[float]) -> MetricsReader:
    writer = MetricsWriter(path)
    writer.plan(("unet",))
    for number, loss in enumerate(losses, start=1):
        writer.add(step(number, loss))
    writer.flush()
    writer.close()
    return MetricsReader(path)


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    """Every number of a step is stored exactly; a missing gradient norm is NaN."""
    writer = MetricsWriter(tmp_path / "metrics.bin")
    writer.plan(("unet", "text_encoder"))
    writer.add(step(1, 0.1, (1e-4, 2e-5), None))
    writer.flush()
    reader = MetricsReader(tmp_path / "metrics.bin")
    assert reader.columns() == (*FIXED_COLUMNS, "lr/unet", "lr/text_encoder")
    row = dict(zip(reader.columns(), reader.rows()[0], strict=True))
    assert (row["global_step"], row["loss"], row["lr/text_encoder"]) == (2, 0.1, 2e-5)
    assert math.isnan(row["grad_norm"])


def test_nothing_is_readable_before_a_flush_and_everything_after(tmp_path: Path) -> None:
    """Rows are collected in memory until they are flushed."""
    writer = MetricsWriter(tmp_path / "metrics.bin")
    writer.add(step(1))
    reader = MetricsReader(tmp_path / "metrics.bin")
    assert (reader.count(), reader.columns(), len(reader.rows())) == (0, (), 0)
    writer.flush()
    assert (reader.count(), writer.waiting()) == (1, 0)


def test_a_torn_row_is_ignored_and_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    """A power cut costs only the row it truncated."""
    reader = write(tmp_path / "metrics.bin", [1.0, 2.0, 3.0])
    content = reader.path.read_bytes()
    reader.path.write_bytes(content[:-5])
    assert reader.rows()[:, 6].tolist() == [1.0, 2.0]
    assert write(reader.path, [9.0]).rows()[:, 6].tolist() == [1.0, 2.0, 9.0]


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    """A file that was cut within its header is empty and is started again."""
    path = tmp_path / "metrics.bin"
    path.write_bytes(b'{"format": "onetr')
    assert MetricsReader(path).count() == 0
    assert write(path, [1.0]).count() == 1


def test_the_header_keeps_rows_aligned(tmp_path: Path) -> None:
    """Rows begin at a multiple of 64 bytes, after one line of JSON."""
    content = write(tmp_path / "metrics.bin", [1.0]).path.read_bytes()
    line, _, rest = content.partition(b"\n")
    assert (len(line) + 1) % 64 == 0
    assert tuple(json.loads(line)["columns"]) == column_names(("unet",))
    assert len(rest) == 8 * len(column_names(("unet",)))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_no_spike_is_lost_however_few_the_buckets(tmp_path: Path) -> None:
    """One outlier in forty thousand steps is visible in ten buckets."""
    losses = [0.1] * 40_000
    losses[21_321] = 7.5
    series = write(tmp_path / "metrics.bin", losses).series(["loss"], buckets=10)
    assert series["buckets"] == 10
    assert (max(series["max"]["loss"]), min(series["min"]["loss"])) == (7.5, 0.1)
    assert series["max"]["loss"].index(7.5) == 5


def test_a_range_of_steps_is_drawn_with_all_its_buckets(tmp_path: Path) -> None:
    """Zooming in shows more: a range with fewer steps than buckets is returned step by step."""
    reader = write(tmp_path / "metrics.bin", [number / 100 for number in range(1, 101)])
    series = reader.series(["loss", "lr/unet", "unknown"], buckets=1000, first=20, last=26)
    assert series["x"] == series["x_last"] == [20, 22, 24, 26]
    assert series["min"]["loss"] == series["max"]["loss"] == [0.1, 0.11, 0.12, 0.13]
    assert series["columns"] == ["loss", "lr/unet"]
    assert (series["first_step"], series["last_step"], series["rows"]) == (2, 200, 100)
    assert reader.series(["loss"], first=300)["x"] == []
    assert reader.series(["loss"], first=21, last=21)["x"] == []


def test_values_that_are_not_finite_are_named_and_not_drawn(tmp_path: Path) -> None:
    """A NaN loss doesn't affect its bucket's other values, and its step is listed."""
    reader = write(tmp_path / "metrics.bin", [1.0, math.nan, 2.0, math.inf, math.nan, math.nan])
    series = reader.series(["loss"], buckets=3)
    assert series["min"]["loss"] == [1.0, 2.0, None]
    assert series["max"]["loss"] == [1.0, 2.0, None]
    assert series["not_finite"]["loss"] == [4, 8, 10, 12]
    json.dumps(series, allow_nan=False)


def test_an_empty_run_has_an_empty_chart(tmp_path: Path) -> None:
    """A chart of a run without steps is no error."""
    series = MetricsReader(tmp_path / "nothing").series()
    assert (series["rows"], series["x"], series["first_step"]) == (0, [], None)


@pytest.mark.exhaustive
@pytest.mark.slow
@given(losses=st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=100), buckets=st.integers(1, 50))
def test_buckets_agree_with_a_plain_minimum_and_maximum(losses: list[float], buckets: int) -> None:
    """Whatever the values and the number of buckets, minimum and maximum are those of the bucket's rows."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        series = write(Path(folder) / "metrics.bin", losses).series(["loss"], buckets=buckets)
    assert series["buckets"] <= buckets
    assert series["x"][0] == 2
    assert series["x_last"][-1] == 2 * len(losses)
    for index, (first, last) in enumerate(zip(series["x"], series["x_last"], strict=True)):
        part = np.array(losses[first // 2 - 1 : last // 2])
        part = part[np.isfinite(part)]
        for name, reduce in (("min", np.min), ("max", np.max)):
            shown = series[name]["loss"][index]
            if len(part):
                assert shown == pytest.approx(reduce(part), rel=1e-4)
            else:
                assert shown is None


def test_the_oldest_rows_go_first_when_there_is_no_room(tmp_path: Path) -> None:
    """The number of rows that wait for a full disk is limited; the newest steps are kept."""
    writer = MetricsWriter(tmp_path / "metrics.bin")
    for number in range(10):
        writer.add(step(number))
    assert writer.drop_oldest(4) == 6
    writer.flush()
    assert MetricsReader(writer.path).rows()[:, 0].tolist() == [6, 7, 8, 9]


def test_a_file_of_an_earlier_version_has_the_columns_of_today(tmp_path: Path) -> None:
    """Its header has the column `pictures`, which is read as images; its rows are kept when steps are added."""
    path = tmp_path / "metrics.bin"
    path.write_bytes((Path(__file__).parents[2] / "fixtures" / "old_names" / "metrics.bin").read_bytes())
    reader = MetricsReader(path)
    assert reader.columns() == column_names(("unet_lora", "text_encoder_lora"))
    assert reader.series(["images"])["max"] == {"images": [4.0, 4.0, 4.0]}
    writer = MetricsWriter(path)
    writer.plan(("unet_lora", "text_encoder_lora"))
    writer.add(step(4, rates=(0.1, 0.2)))
    writer.flush()
    assert MetricsReader(path).count() == 4


def test_the_lowest_loss_ignores_the_first_steps_of_a_longer_run(tmp_path: Path) -> None:
    """An average over a few values means little. A growing run is read from where the last read ended."""
    path = tmp_path / "metrics.bin"
    lowest = LowestLoss(write(path, [0.1, 0.5, math.nan]))
    assert lowest.read() == (0.1, 2)
    write(path, [0.1] * 90 + [0.4, 0.3, 0.6] * 10)
    assert lowest.read() == (0.3, 196)
    assert LowestLoss(MetricsReader(path)).read() == (0.3, 196)
    assert LowestLoss(MetricsReader(tmp_path / "none.bin")).read() == (None, None)
