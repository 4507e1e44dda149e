"""The page in the scheduler's dashboard, in a browser: what it draws is the path, during a fit and after it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distlasso as dl
from distlasso.events import Event, PathGrown

pytest.importorskip("bokeh", reason="bokeh, the extra distlasso[dashboard], is not installed")
pytestmark = pytest.mark.xdist_group("dashboard")

HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
DATA = "Object.fromEntries(Object.entries(Bokeh.documents[0].get_model_by_name(name).data).map(([k, v]) => [k, Array.from(v)]))"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dl.Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 500))
    y = X[:, :60] @ rng.standard_normal(60) + 2.0 * rng.standard_normal(300)
    folder = tmp_path_factory.mktemp("data")
    table = pa.table({**{f"{j} {HOSTILE}": X[:, j] for j in range(500)}, "y": y})
    pq.write_table(table, folder / "d.parquet")
    return dl.ingest(folder / "d.parquet", folder / "d.zarr", target="y", chunks=(300, 50))


class Fit:
    """A fit on a thread of its own, that stands still after some batches until it may go on."""

    def __init__(self, store: dl.Dataset, client: Any, *, stand: int = 2, **options: Any) -> None:
        self.stands, self.goes_on = threading.Event(), threading.Event()
        self.told: list[float] = []
        self._left = stand
        self._thread = threading.Thread(target=self._run, args=(store, client, options))
        self._thread.start()

    def _run(self, store: dl.Dataset, client: Any, options: dict[str, Any]) -> None:
        try:
            self.path = dl.fit_path(store, client=client, on_event=self._listen, **{"lambda_min_ratio": 0.01} | options)
        finally:
            self.stands.set()

    def _listen(self, event: Event) -> None:
        if isinstance(event, PathGrown) and not self.goes_on.is_set():
            self.told += event.lambdas
            self._left -= 1
            if self._left == 0:
                self.stands.set()
                assert self.goes_on.wait(60)

    def end(self) -> dl.Path:
        self.goes_on.set()
        self._thread.join()
        return self.path

    def __enter__(self) -> Fit:
        assert self.stands.wait(120)
        return self

    def __exit__(self, *why: object) -> None:
        self.goes_on.set()
        self._thread.join()


def root(client: Any) -> str:
    return str(client.dashboard_link).removesuffix("/status")


def get(address: str) -> str:
    with urllib.request.urlopen(address) as answer:
        return str(answer.read().decode())


def opened(browser: Any, address: str) -> Any:
    page = browser.new_page(viewport={"width": 1400, "height": 1300})
    page.on("dialog", lambda dialog: pytest.fail("a name of a feature was executed"))
    page.goto(address)
    page.wait_for_function("window.Bokeh && Bokeh.documents.length == 1")
    return page


def drawn(page: Any, name: str) -> dict[str, list[Any]]:
    return dict(page.evaluate(f"name => {DATA}", f"distlasso-{name}"))


def listed(page: Any) -> list[list[str]]:
    """Rows of the table of fits that is seen."""
    rows = page.locator("table:has(th:text-is('lambdas')) tr:has(td)").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def waits_for_lambdas(page: Any, count: int) -> None:
    page.wait_for_function("count => Bokeh.documents[0].get_model_by_name('distlasso-gap').data.lam.length == count", arg=count)


def agrees(page: Any, path: dl.Path, count: int) -> None:
    """Everything that is drawn is on the path, up to a number of lambdas."""
    waits_for_lambdas(page, count)
    gap, lines, columns = drawn(page, "gap"), drawn(page, "coefficients"), drawn(page, "columns")
    np.testing.assert_array_equal(gap["lam"], path.lambdas[:count])
    np.testing.assert_array_equal(gap["gap"], path.gap[:count])
    np.testing.assert_array_equal(np.nan_to_num(np.array(columns["active"], dtype=float)), path.n_active[:count])
    dense, names = path.coef.toarray()[:count], path.feature_names or []
    assert len(lines["column"]) >= 10
    for j, label, lambdas, values in zip(*(lines[k] for k in ("column", "label", "lambdas", "values")), strict=True):
        told = np.array(list(values), dtype=float)
        np.testing.assert_array_equal(list(lambdas), path.lambdas[:count])
        np.testing.assert_array_equal(told[~np.isnan(told)], dense[~np.isnan(told), j])
        assert names[j].startswith(label)
    top = int(np.argmax(np.abs(dense[-1])))
    assert top in lines["column"]


def is_shown(page: Any, fit: Fit) -> None:
    """During the fit and after it; names of features are names."""
    waits_for_lambdas(page, len(fit.told))
    middle = {name: drawn(page, name) for name in ("gap", "coefficients", "memory", "workers", "passes")}
    assert listed(page)[0][1:3] == ["running", f"{len(fit.told)} of 100"]
    path = fit.end()
    assert middle["gap"]["lam"] == path.lambdas[: len(fit.told)].tolist() and len(fit.told) < path.lambdas.size
    assert middle["gap"]["gap"] == path.gap[: len(fit.told)].tolist()
    assert middle["memory"]["who"][0] == "coordinator" and 0 < middle["memory"]["used"][0] <= middle["memory"]["allowed"][0]
    assert len(middle["workers"]["worker"]) == 1 and middle["workers"]["rate"][0] > 0
    agrees(page, path, path.lambdas.size)
    page.locator("td:text-is('finished')").first.wait_for()
    assert listed(page)[0][1:3] == ["finished", "100 of 100"]
    assert len(drawn(page, "passes")["number"]) == path.passes
    assert page.evaluate("window.hacked") is None


def is_linked(browser: Any, address: str) -> None:
    """In the navigation bar of every page, and where JupyterLab looks."""
    page = browser.new_page()
    page.goto(f"{address}/status")
    assert page.locator("#myTopnav a[href='distlasso']").count() == 1
    assert page.locator("#myTopnav a[href='individual-distlasso-path']").count() == 1
    page.close()
    listed = json.loads(get(f"{address}/individual-plots.json"))
    assert listed["Individual Distlasso Path"] == "/individual-distlasso-path"


@pytest.fixture(scope="module")
def preloaded(start: Callable[..., Any]) -> Any:
    return start("--preload", "distlasso.dashboard")


@pytest.fixture(scope="module")
def plain(start: Callable[..., Any]) -> Any:
    return start()


def test_a_preloaded_page_draws_the_path_during_a_fit_and_after_it(preloaded: Any, store: dl.Dataset, browser: Any) -> None:
    """It is there before any fit, and says so."""
    page = opened(browser, f"{root(preloaded)}/distlasso")
    page.get_by_text("No fit has been heard of yet").wait_for()
    is_linked(browser, root(preloaded))
    with Fit(store, preloaded) as fit:
        is_shown(page, fit)
    page.close()


def test_a_running_cluster_gets_the_page_from_the_first_fit(plain: Any, store: dl.Dataset, browser: Any) -> None:
    """Nothing was prepared there; installing it again changes nothing."""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{root(plain)}/distlasso")
    with Fit(store, plain) as fit:
        page = opened(browser, f"{root(plain)}/distlasso")
        dl.install_dashboard(plain)
        is_shown(page, fit)
    is_linked(browser, root(plain))
    page.close()


def test_what_was_told_before_the_page_was_installed_is_on_it(start: Callable[..., Any], browser: Any) -> None:
    """The scheduler keeps the last messages of a topic by itself."""
    client = start(workers=0)
    client.log_event("distlasso", {"fit": "early", "client": client.id, "at": 1.0, "now": {"gap": 0.5}})
    dl.install_dashboard(client)
    page = opened(browser, f"{root(client)}/distlasso")
    page.locator("td:text-is('early')").wait_for()
    page.close()


def test_a_fit_that_is_chosen_stays_on_the_page(preloaded: Any, store: dl.Dataset, browser: Any) -> None:
    """Though another one begins."""
    first = Fit(store, preloaded, stand=0, n_lambdas=20).end()
    page = opened(browser, f"{root(preloaded)}/distlasso")
    waits_for_lambdas(page, first.lambdas.size)
    page.locator("select").select_option(listed(page)[0][0])
    second = Fit(store, preloaded, stand=0, n_lambdas=30).end()
    page.locator("td:text-is('30 of 30')").first.wait_for()
    assert len(drawn(page, "gap")["lam"]) == first.lambdas.size < second.lambdas.size
    page.locator("select").select_option("latest fit")
    waits_for_lambdas(page, second.lambdas.size)
    page.close()


def test_the_loss_of_a_worker_is_listed(start: Callable[..., Any], store: dl.Dataset, browser: Any) -> None:
    """It is killed in the middle of a fit, which goes on."""
    client = start("--preload", "distlasso.dashboard", workers=2)
    with Fit(store, client) as fit:
        address, victim = next(iter(client.run(os.getpid).items()))
        os.kill(victim, signal.SIGKILL)
        path = fit.end()
    page = opened(browser, f"{root(client)}/distlasso")
    page.get_by_text(f"worker {address} was lost").wait_for()
    agrees(page, path, path.lambdas.size)
    page.close()


def test_admm_shows_its_residuals_and_rho(preloaded: Any, store: dl.Dataset, browser: Any) -> None:
    """Where it does not run there is no such plot."""
    page = opened(browser, f"{root(preloaded)}/distlasso")
    Fit(store, preloaded, stand=0, n_lambdas=2, lambda_min_ratio=0.7, solver="admm", tol=1e-2).end()
    page.wait_for_function("Array.from(Bokeh.documents[0].get_model_by_name('distlasso-consensus').data.moving).at(-1) === 0")
    shown = drawn(page, "consensus")
    assert shown["round"] == list(range(shown["round"][0], shown["round"][0] + len(shown["round"])))
    assert min(shown["rho"]) > 0
    page.close()


def test_a_single_plot_is_a_page_of_its_own(preloaded: Any, store: dl.Dataset, browser: Any) -> None:
    """As JupyterLab opens it."""
    path = Fit(store, preloaded, stand=0, n_lambdas=10).end()
    page = opened(browser, f"{root(preloaded)}/individual-distlasso-gap")
    waits_for_lambdas(page, path.lambdas.size)
    page.close()


def test_metrics_are_beside_those_of_dask(preloaded: Any, store: dl.Dataset) -> None:
    """Totals of all fits; the numbers of one while it runs."""
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")

    def value(name: str) -> float | None:
        found = [line for line in get(f"{root(preloaded)}/metrics").splitlines() if line.startswith(f"distlasso_{name} ")]
        return float(found[0].split()[1]) if found else None

    def becomes(name: str, wanted: float) -> bool:
        return any(value(name) == wanted or bool(time.sleep(0.1)) for _ in range(100))  # it may be a message behind

    before = value("passes_total") or 0.0
    with Fit(store, preloaded) as fit:
        assert becomes("certified_lambdas", len(fit.told)) and becomes("fits_running", 1.0) and becomes("lambdas", 100.0)
        path = fit.end()
    assert becomes("fits_running", 0.0) and becomes("passes_total", before + path.passes)
    assert "dask_scheduler_workers" in get(f"{root(preloaded)}/metrics")


def test_work_has_readable_names_on_the_task_stream(preloaded: Any, store: dl.Dataset) -> None:
    """Of what is asked, not of how."""
    Fit(store, preloaded, stand=0, n_lambdas=10).end()
    names = preloaded.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert any(name.startswith("dl-gradient") for name in names) and not any("answer_run" in name for name in names)


def test_a_client_that_leaves_takes_its_fits_off_the_running(preloaded: Any) -> None:
    """As when its process is killed."""
    import distributed

    gone = distributed.Client(preloaded.scheduler.address, set_as_default=False)
    gone.log_event("distlasso", {"fit": "orphan", "client": gone.id, "at": 1e10, "state": "running"})
    gone.close()

    def state(dask_scheduler: Any) -> str:
        return str(dask_scheduler.plugins["distlasso-dashboard"].board.fits["orphan"].state)

    for _ in range(100):
        if preloaded.run_on_scheduler(state) == "failed":
            return
    pytest.fail("the fit still runs")


def test_what_is_no_client_is_refused() -> None:
    """By a line that says what is expected."""
    with pytest.raises(dl.InputError, match=r"expected a synchronous distributed\.Client"):
        dl.install_dashboard("tcp://127.0.0.1:8786")
