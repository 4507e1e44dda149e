"""The page, in a real browser: submit in the form, watch the path move, cancel, resume, open the result.

``DISTLASSO_SCREENSHOTS=DIR`` keeps pictures of every step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Served, until

import distlasso as dl
from distlasso.service.store import SQLiteStore

PICTURES = os.environ.get("DISTLASSO_SCREENSHOTS")


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page whose errors, and whose breaches of its own security policy, fail the test."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    refused = "Failed to load resource"  # what a browser says of every answer above 400
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" and refused not in said.text else None)
    opened.on("request", lambda asked: None if asked.url.startswith(("http://127.0.0.1", "blob:")) else faults.append(asked.url))
    yield opened
    context.close()
    assert faults == []


def picture(page: Any, name: str) -> None:
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES) / f"service-{name}.png", full_page=True)


def submit(page: Any, **fields: str) -> None:
    page.click("#new")
    page.wait_for_selector("#fields input")
    page.select_option("#kind", fields.pop("kind"))
    for name, value in fields.items():
        page.fill(f"#fields [name={name}]", value)
    page.click("button[type=submit]")
    page.wait_for_selector("#state")


def certified(page: Any) -> int:
    text = page.locator("#figures dd").first.text_content() if page.locator("#figures dd").count() else ""
    return int(text.split(" of ")[0]) if " of " in text else 0


def test_a_path_is_submitted_watched_cancelled_resumed_and_explored(
    serve: Callable[..., Served], page: Any, root: Path, tmp_path: Path
) -> None:
    """Everything that the page promises, with a token; what it draws is what the model says."""
    _, secret = SQLiteStore(tmp_path / "jobs.sqlite").access.create_token("me", "submit", None)
    service = serve("--scheduler", "threads")
    page.goto(service.url)
    page.fill("#token", "dl_wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-problem:visible")
    picture(page, "token")
    page.fill("#token", secret)
    page.keyboard.press("Enter")
    submit(page, kind="fit", dataset="./wide.zarr", output="wide", n_lambdas="600")
    page.wait_for_selector("#path path.curve", timeout=60_000)
    first = page.locator("#path path.curve").first.get_attribute("d")
    before = certified(page)
    until(lambda: certified(page) > before and page.locator("#path path.curve").first.get_attribute("d") != first)
    picture(page, "live")
    page.click("#cancel")
    page.wait_for_selector("#state.cancelled", timeout=30_000)
    assert 0 < certified(page) < 600
    picture(page, "cancelled")
    page.click("#resume")
    page.wait_for_selector("#state.succeeded", timeout=60_000)
    page.wait_for_selector(".names tr")
    picture(page, "result")
    with service.client(secret) as client:
        path = client.model(client.jobs().jobs[0].id)
    assert isinstance(path, dl.Path)
    assert certified(page) == 600
    column = int(abs(path.coef[[-1]].toarray()[0]).argmax())
    name, value = (page.locator(".names tr").first.locator("td").nth(k).text_content() for k in (1, 2))
    assert (name, float(value)) == (f"x{column}", pytest.approx(path.coef[-1, column], rel=1e-3))
    explore(page, path)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "wide.zip"
    assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0


def explore(page: Any, path: dl.Path) -> None:
    """The pointer and the arrow keys choose a lambda."""
    chart = page.locator("#path svg.chart").first
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = page.locator("#path dd").first
    near = float(shown.text_content())
    k = int(abs(path.lambdas - near).argmin())
    assert 0 < k < path.lambdas.size - 1
    assert int(page.locator("#path dd").nth(1).text_content().replace(",", "")) == path.n_active[k]
    page.mouse.move(0, 0)
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert float(shown.text_content()) == pytest.approx(path.lambdas[k + 1], rel=1e-3)
    page.locator(".names tr").first.hover()
    assert page.locator("#path path.strong").count() == 1
    picture(page, "explored")


def test_a_table_becomes_a_cross_validated_model_in_the_form(serve: Callable[..., Served], page: Any) -> None:
    """Ingest, what it would cost, choose; a mistake is said beside the form, in dark as well."""
    page.emulate_media(color_scheme="dark")
    page.goto(serve().url)
    submit(page, kind="ingest", source="table.csv", output="table", target="y")
    page.wait_for_selector("#state.succeeded", timeout=60_000)
    page.click("#new")
    page.wait_for_selector("#fields input")
    page.select_option("#kind", "cv")
    page.fill("#fields [name=dataset]", "tabel")
    page.click("button[type=submit]")
    page.wait_for_selector("#problem:visible")
    assert "there is no dataset 'tabel'" in page.locator("#problem").text_content()
    page.fill("#fields [name=dataset]", "table")
    page.fill("#fields [name=output]", "<b>chosen</b>")
    page.click("button[type=submit]")
    page.wait_for_selector("#problem:visible")
    page.fill("#fields [name=output]", "chosen")
    page.click("#estimate")
    page.wait_for_selector("#plan dd")
    picture(page, "form-dark")
    page.click("button[type=submit]")
    page.wait_for_selector("#state.succeeded", timeout=60_000)
    page.wait_for_selector(".names tr")
    assert page.locator(".names tr td").nth(1).text_content() == "a"
    picture(page, "cv-dark")


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(serve: Callable[..., Served]) -> None:
    """A strict policy on every part of it, and no part outside the list."""
    url = serve().url
    for name in ("", "page/main.js", "page/style.css", "page/icon.svg"):
        answer = httpx.get(f"{url}/{name}")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("page/index.html", "page/../app.py", "page/%2e%2e/app.py", "page/none.js"):
        assert httpx.get(f"{url}/{name}").status_code in (404, 422)
    assert "http" not in httpx.get(url).text


def test_what_is_typed_into_the_form_stays_though_lists_come_late(serve: Callable[..., Served], page: Any) -> None:
    """A form that is asked for twice is drawn once, and the view that was left draws nothing."""
    page.add_init_script("""const now = window.fetch; window.fetch = (where, ...rest) => String(where).includes("datasets")
        ? new Promise((go) => setTimeout(() => go(now(where, ...rest)), 700)) : now(where, ...rest)""")
    page.goto(serve().url)
    page.wait_for_selector("#fields input")
    page.click("#new")
    page.wait_for_selector("#fields input")
    page.fill("#fields [name=output]", "kept")
    page.wait_for_timeout(1500)
    assert page.input_value("#fields [name=output]") == "kept"
