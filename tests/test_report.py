"""The report in a browser: what it draws and lists is the model, names stay names, and nothing is loaded from anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distlasso as dl

HOSTILE = (
    "<script>window.hacked = 1</script>", "</script><script>window.hacked = 1</script>", "<!--<script>",
    "<img src=x onerror=hacked=1>", "&lt;b&gt;", "\u2028 ' \" \\ `${window.hacked = 1}`", "日本語 𝔛", "a" * 400,
)  # fmt: skip


def data(p: int = 40) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, p))
    y = X[:, :8] @ [3.0, -2.5, 2.0, -1.5, 1.2, -1.0, 0.8, -0.6] + 0.5 * rng.standard_normal(150)
    return dl.Dataset.from_arrays(X, y, feature_names=[*HOSTILE, *(f"gene {j}" for j in range(8, p))][:p])


@pytest.fixture(scope="module")
def path() -> dl.Path:
    return dl.fit_path(data(), n_lambdas=40)


@pytest.fixture(scope="module")
def cv() -> dl.CrossValidation:
    return dl.cross_validate(data(), folds=4, rule="1se", n_lambdas=40, schedule=[None, dl.MCP()])


def contents(file: Path) -> Any:
    """What travels in a report."""
    found = re.search(r'<script type="application/json" id="contents">(.*?)</script>', file.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Writes a report and opens it; the page may neither fail, nor say anything, nor load anything but itself."""
    opened, faults = [], list[str]()

    def show(model: Any, **options: Any) -> Any:
        file = tmp_path / "report.html"
        model.report(file, **options)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        opened.append(page)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url == file.as_uri() or faults.append(request.url))
        page.goto(file.as_uri())
        return page

    yield show
    for page in opened:
        assert page.evaluate("window.hacked") is None
        page.close()
    assert not faults


def column(page: Any, table: str, place: int) -> list[str]:
    return list(page.locator(f"table[aria-label='{table}'] tbody tr td:nth-child({place})").all_text_contents())


def test_the_numbers_in_a_report_are_those_of_the_path(path: dl.Path, tmp_path: Path) -> None:
    """To eight digits."""
    path.report(tmp_path / "r.html")
    (own,) = contents(tmp_path / "r.html")["outputs"]
    expected = {"lambdas": path.lambdas, "active": path.n_active, "gap": path.gap, "explained": path.deviance_ratio}
    for name, values in expected.items():
        np.testing.assert_allclose(own[name], values, rtol=1e-7)
    dense = path.coef.toarray()
    assert len(own["lines"]) == np.count_nonzero(np.abs(dense).max(axis=0)) and own["hidden"] == 0
    for line in own["lines"]:
        np.testing.assert_allclose(line["values"], dense[:, path.feature_names.index(line["name"])], rtol=1e-7)


def test_a_report_says_what_is_proved_and_what_was_fitted(path: dl.Path, shown: Any) -> None:
    """In words, with the options to do it again."""
    text = shown(path).inner_text("main")
    assert "Every solution is within" in text and path.certificate in text
    for word in ("squared", "150", "40, from", path.solver, "lambda_min_ratio=0.0001", "--n-lambdas 40"):
        assert word in text, word


def test_a_solution_that_is_not_proved_is_not_called_proved(shown: Any) -> None:
    """As where the tolerance is beyond what rounding allows."""
    with pytest.warns(dl.CertificateWarning):
        path = dl.fit_path(data(), n_lambdas=10, tol=1e-19)
    text = shown(path).inner_text("main")
    assert "Every solution is within" not in text and f"{path.converged.sum()} of 10 solutions are within" in text


def test_hovering_over_a_line_shows_its_name_and_value(path: dl.Path, shown: Any) -> None:
    """At the lambda under the pointer, for the line that is nearest; names are text whatever is in them."""
    page = shown(path)
    dense, names = path.coef.toarray(), path.feature_names or []
    j, k = int(np.argmax(np.abs(dense[-1]))), path.lambdas.size - 5
    line = page.locator("svg[aria-label='coefficients against lambda'] polyline[stroke]").last  # the largest is drawn on top
    x, y = (float(part) for part in line.get_attribute("points").split()[k].split(","))
    svg = page.locator("svg[aria-label='coefficients against lambda']")
    box = svg.bounding_box()
    page.mouse.move(box["x"] + x * box["width"] / 1040, box["y"] + y * box["width"] / 1040)
    tip = page.locator(".tip:not(.hidden)").inner_text()
    assert tip.split("\n")[0] == names[j]
    assert float(tip.split("\n")[1]) == pytest.approx(dense[k, j], rel=1e-5)
    assert f"{path.n_active[k]} active" in tip
    page.mouse.move(2, 2)
    assert page.locator(".tip:not(.hidden)").count() == 0


def test_the_table_lists_the_model_and_sorts_by_any_column(path: dl.Path, shown: Any) -> None:
    """First click, second click, and a search."""
    page = shown(path)
    last, names = path.coef[[-1]].toarray()[0], path.feature_names or []
    order = np.argsort(-np.abs(last), kind="stable")[: path.n_active[-1]]
    assert column(page, "the model", 1) == [names[j] for j in order]
    np.testing.assert_allclose([float(text) for text in column(page, "the model", 2)], last[order], rtol=1e-5)
    head = page.locator("table[aria-label='the model'] th button")
    head.nth(1).click()
    values = [float(text) for text in column(page, "the model", 2)]
    assert values == sorted(values, reverse=True)
    head.nth(1).click()
    assert [float(text) for text in column(page, "the model", 2)] == sorted(values)
    head.nth(0).click()
    found = column(page, "the model", 1)
    assert found == sorted(found, key=lambda name: name.encode("utf-16-be"))
    page.fill("input[aria-label='find in the model']", "GENE 1")
    assert all(text.startswith("gene 1") for text in column(page, "the model", 1))


def test_a_cross_validation_shows_its_curve_and_its_choice(cv: dl.CrossValidation, shown: Any, tmp_path: Path) -> None:
    """The chosen model, not the last."""
    page = shown(cv)
    scores = contents(tmp_path / "report.html")["scores"]
    np.testing.assert_allclose(scores["mean"], cv.mean, rtol=1e-7)
    np.testing.assert_allclose(scores["se"], cv.se, rtol=1e-7)
    assert (scores["min"], scores["one_se"]) == (cv.best_min, cv.best_1se)
    assert len(column(page, "the model", 1)) == np.count_nonzero(cv.coef)
    assert "chosen by rule 1se" in page.inner_text("main")
    svg = page.locator("svg[aria-label='mse against lambda']")
    svg.hover()
    assert re.search(r"mse [\d.e-]+ ± ", page.locator(".tip:not(.hidden)").inner_text())


def test_what_a_schedule_did_is_listed(shown: Any) -> None:
    """Every fit after the first."""
    path = dl.fit_path(data(), n_lambdas=15, schedule=dl.MCP())
    page = shown(path)
    records = path.history[path.history["stage"] > 0]
    assert len(records) and len(column(page, "the schedule", 1)) == len(records)
    assert column(page, "the schedule", 5) == records["why"].tolist()


def test_each_response_can_be_looked_at(shown: Any) -> None:
    """One at a time."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 12))
    path = dl.fit_path(X, X[:, :2] * 2.0 + rng.standard_normal((80, 2)), n_lambdas=10)
    page = shown(path)
    for j in (1, 0):
        page.select_option("select", str(j))
        assert len(column(page, "the model", 1)) == path.n_active[-1, j]


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_paths_of_all_kinds_can_be_reported(loss: str, shown: Any) -> None:
    """A single lambda, no active column, and no names among them."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 5))
    y = (X[:, 0] > 0).astype(float) if loss == "logistic" else rng.poisson(1.0, 60).astype(float)
    top = float(dl.fit_path(X, y, loss=loss, n_lambdas=3).lambdas[0])
    assert "0 features" in shown(dl.fit_path(X, y, loss=loss, lambdas=[2 * top])).inner_text("main")


def test_a_multi_task_path_and_one_of_a_prior_can_be_reported(shown: Any) -> None:
    """Whose gap is shared, and whose lambda was not chosen from a grid."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 5))
    shown(dl.fit_path(X, X[:, :2] + rng.standard_normal((60, 2)), multi_task=True, n_lambdas=5))


def test_of_many_columns_the_largest_are_drawn(shown: Any) -> None:
    """And the report says how many are not."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((500, 400))
    path = dl.fit_path(X, X @ rng.standard_normal(400), n_lambdas=20)
    page = shown(path)
    used = np.unique(path.coef.indices).size
    assert used > 200 and f"The 200 largest are drawn, {used - 200} smaller ones are not" in page.inner_text("main")


def test_the_command_writes_a_report_of_a_saved_model(cv: dl.CrossValidation, tmp_path: Path) -> None:
    """And refuses, in one line, what it cannot do."""
    cv.save(tmp_path / "chosen")

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "distlasso.cli", "report", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run("chosen", "--out", "r.html", "--lambda", f"{cv.lambdas[20]:.3g}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"] == "r.html"
    found = contents(tmp_path / "r.html")
    assert found["title"] == "chosen" and found["chosen"]["index"] == 20
    before = (tmp_path / "r.html").read_bytes()
    for options, words in (
        (("chosen", "--out", "r.html"), "exists already"), (("chosen", "--out", "r.pdf"), "written as .html"),
        (("none", "--out", "new.html"), "no model at"),
        (("chosen", "--out", "new.html", "--lambda", "-1"), "not a positive number"),
    ):  # fmt: skip
        done = run(*options)
        assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert (tmp_path / "r.html").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chosen", "r.html"]
