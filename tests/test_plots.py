"""Pictures of a path: what is drawn, what is named, what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import distlasso as dl
from distlasso.plots import plot_path, spread

pytest.importorskip("matplotlib", reason="matplotlib, the extra distlasso[plot], is not installed")


@pytest.fixture(scope="module")
def path() -> dl.Path:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 40))
    y = X[:, :12] @ np.repeat([3.0, -2.0, 1.0], 4) + rng.standard_normal(60)
    names = [f"gene_{j}" for j in range(40)]
    return dl.fit_path(dl.Dataset.from_arrays(X, y, feature_names=names), n_lambdas=30)


def labels(figure: Any) -> list[Any]:
    return [text for text in figure.axes[0].texts if text.get_text()]


def test_the_largest_coefficients_are_named(path: dl.Path) -> None:
    """The names are those of the largest at the end of the path."""
    last = np.abs(path.coef[[-1]].toarray()[0])
    expected = {f"gene_{j}" for j in np.argsort(-last)[:5]}
    assert {text.get_text() for text in labels(plot_path(path, top=5))} == expected


@pytest.mark.parametrize("top", [10, 40])
def test_no_label_covers_another_or_leaves_the_picture(path: dl.Path, top: int) -> None:
    """Measured on the drawn figure."""
    from matplotlib.text import Text

    figure = plot_path(path, top=top)
    figure.canvas.draw()
    # The extent of an annotation itself would include its leader line.
    boxes = sorted((Text.get_window_extent(text) for text in labels(figure)), key=lambda box: box.y0)
    assert len(boxes) >= 10
    assert all(low.y1 <= high.y0 + 1 for low, high in zip(boxes, boxes[1:], strict=False))
    assert boxes[0].y0 >= 0
    assert boxes[-1].y1 <= figure.bbox.y1
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_lambda_falls_to_the_right_on_a_log_scale(path: dl.Path) -> None:
    """As glmnet draws it."""
    axes = plot_path(path).axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == pytest.approx((path.lambdas[0], path.lambdas[-1]))


def test_every_used_coefficient_is_drawn(path: dl.Path) -> None:
    """Named ones in colour, the rest in grey."""
    axes = plot_path(path, top=5).axes[0]
    grey = axes.collections[0].get_segments()
    assert 5 + len(grey) == np.unique(path.coef.indices).size


def test_a_path_of_many_features_is_drawn_with_few_lines_and_says_so(path: dl.Path) -> None:
    """A picture of thousands of lines would be grey soup, and slow."""
    coef = sp.csr_array(np.random.default_rng(1).standard_normal((path.lambdas.size, 700)))
    axes = plot_path(replace(path, coef=coef, feature_names=None), top=3).axes[0]
    assert len(axes.collections[0].get_segments()) == 500
    assert "197 small ones not drawn" in axes.get_title(loc="left")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_the_suffix_chooses_the_format(path: dl.Path, tmp_path: Path, suffix: str) -> None:
    """And nothing else is left in the folder."""
    file = tmp_path / f"path{suffix}"
    plot_path(path, file)
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix.lower()]
    assert file.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [file]


def test_a_png_has_1200_by_700_pixels(path: dl.Path, tmp_path: Path) -> None:
    """The size the labels are made for."""
    plot_path(path, tmp_path / "path.png")
    header = (tmp_path / "path.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (1200, 700)


def test_an_unknown_suffix_is_refused(path: dl.Path, tmp_path: Path) -> None:
    """With the known ones named."""
    with pytest.raises(dl.InputError, match=r"\.png, \.svg, \.pdf"):
        plot_path(path, tmp_path / "path.docx")


def test_a_missing_folder_is_made(path: dl.Path, tmp_path: Path) -> None:
    """As for a model and a report."""
    plot_path(path, tmp_path / "a" / "b" / "path.png")
    path.report(tmp_path / "c" / "d" / "report.html")
    path.save(tmp_path / "e" / "f" / "model")
    for file in ("a/b/path.png", "c/d/report.html", "e/f/model/path.json"):
        assert (tmp_path / file).stat().st_size > 0


def test_a_folder_that_is_a_file_is_refused_by_name(path: dl.Path, tmp_path: Path) -> None:
    """As an error of this package."""
    (tmp_path / "absent").write_text("a file")
    with pytest.raises(dl.InputError, match=r"absent.path\.png"):
        plot_path(path, tmp_path / "absent" / "path.png")


def test_a_failed_write_leaves_the_old_picture(path: dl.Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up half-way does not destroy what was there."""
    from matplotlib.figure import Figure

    def fill_up(self: Figure, name: Path, **options: Any) -> None:
        Path(name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    file = tmp_path / "path.png"
    file.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fill_up)
    with pytest.raises(dl.InputError, match="No space left"):
        plot_path(path, file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_without_matplotlib_the_extra_is_named(path: dl.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command to run."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(dl.InputError, match=r"distlasso\[plot\]"):
        plot_path(path)


def test_pyplot_is_not_touched(path: dl.Path) -> None:
    """No figure of ours is in its global list."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    before = pyplot.get_fignums()
    plot_path(path)
    assert pyplot.get_fignums() == before


def test_a_path_of_one_lambda_can_be_drawn(tmp_path: Path) -> None:
    """What an estimator has: points instead of lines."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((30, 5))
    one = dl.fit_path(X, X @ [2.0, 0, 0, -1.0, 0], lambdas=[0.1])
    axes = plot_path(one, tmp_path / "one.png").axes[0]
    assert [line.get_marker() for line in axes.lines[:2]] == ["o", "o"]


def test_a_null_model_can_be_drawn(tmp_path: Path) -> None:
    """Nothing to draw is not an error."""
    rng = np.random.default_rng(3)
    null = dl.fit_path(rng.standard_normal((30, 5)), rng.standard_normal(30), lambdas=[1e3, 1e2])
    plot_path(null, tmp_path / "null.png")


def test_a_name_with_dollar_signs_is_not_read_as_mathematics() -> None:
    """Column names come from anywhere; long ones are shortened."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 2))
    data = dl.Dataset.from_arrays(X, X @ [2.0, 1.0], feature_names=["cost $\\bad$", "x" * 100])
    figure = plot_path(dl.fit_path(data, n_lambdas=5))
    figure.canvas.draw()
    assert sorted(text.get_text() for text in labels(figure)) == ["cost $\\bad$", "x" * 31 + "…"]


def test_places_move_as_little_as_spacing_allows() -> None:
    """A cluster spreads to both sides of its middle."""
    np.testing.assert_allclose(spread([5.0, 5.0, 5.0, 9.0], 1.0, 0.0, 10.0), [4.0, 5.0, 6.0, 9.0])


def test_places_stay_inside() -> None:
    """At the edge a cluster spreads to one side."""
    np.testing.assert_allclose(spread([10.0, 10.0], 1.0, 0.0, 10.0), [9.0, 10.0])


def test_no_places_are_asked_for_nothing() -> None:
    """A null model has no names."""
    assert spread([], 1.0, 0.0, 1.0).size == 0
