"""The report in a real browser: headless Chromium, driven through chromedriver's plain HTTP (W3C WebDriver)."""

import base64
import contextlib
import io
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import yaml

from medseg.report import planes, write_report
from medseg.report.cases import chosen_cases, read_case
from medseg.report.run_folder import read_run_folder
from medseg.report.tables import by_case
from medseg.volumes import Volume, write_label_map, write_volume

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="no chromium with chromedriver here: apt-get install chromium chromium-driver",
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--force-device-scale-factor=1", "--window-size=1200,900"),
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what WebDriver calls a reference to an element
KEYS = {"tab": "\ue004", "shift": "\ue008", "right": "\ue014", "space": " "}


class Browser:
    """One session of chromedriver."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": list(FLAGS)}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        opened = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += f"/session/{opened['sessionId']}"

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def open(self, path: Path) -> None:
        self._send("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def cdp(self, command: str, **params: Any) -> Any:
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def log(self) -> list[dict[str, Any]]:
        return list(self._send("POST", "/se/log", {"type": "browser"}))

    def wait(self, script: str, *, seconds: float = 15.0) -> Any:
        """Until the script returns something true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.02)
        pytest.fail(f"never true: {script}")

    def press(self, *keys: str) -> None:
        presses = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": presses}]})

    def find(self, css: str) -> dict[str, str]:
        return {ELEMENT: self._send("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]}

    def wheel(self, css: str, delta_y: int) -> None:
        turn = {"type": "scroll", "x": 0, "y": 0, "deltaX": 0, "deltaY": delta_y, "origin": self.find(css)}
        self._send("POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [turn]}]})

    def click(self, css: str, *, x: int = 0, y: int = 0) -> None:
        """At an offset from the element's middle."""
        moves = [
            {"type": "pointerMove", "x": x, "y": y, "origin": self.find(css), "duration": 0},
            *({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")),
        ]
        self._send("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def drag(self, css: str, x: int, y: int, *, key: str) -> None:
        """From an element's middle to an offset from there, with a key held."""
        middle = {"type": "pointerMove", "x": 0, "y": 0, "origin": self.find(css), "duration": 0}
        there = {"type": "pointerMove", "x": x, "y": y, "origin": "pointer", "duration": 0}
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        wait = {"type": "pause"}
        hold = [{"type": "keyDown", "value": KEYS[key]}, wait, wait, wait, {"type": "keyUp", "value": KEYS[key]}]
        pointer = {"type": "pointer", "id": "mouse", "actions": [middle, down, there, up]}
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": hold}, pointer]})

    def size(self, width: int, height: int = 900) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, **features: str) -> None:
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=told)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def quit(self) -> None:
        self._send("DELETE", "")


@contextlib.contextmanager
def driving() -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nobody = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([str(CHROMEDRIVER), f"--port={port}"], **nobody) as driver:  # type: ignore[call-overload]
        try:
            yield _started(port)
        finally:
            driver.terminate()


def _started(port: int) -> Browser:
    end = time.monotonic() + 20
    while True:
        try:
            return Browser(port)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with driving() as browser:
        yield browser
        browser.quit()


@pytest.fixture(scope="module")
def report(make_run_once: Callable[..., Path]) -> Path:
    return write_report(make_run_once(extras=True))


@pytest.fixture
def page(chromium: Browser, report: Path) -> Browser:
    """The report of a run in a window 1200 wide, its first case in view, unpacked and as it is at first."""
    chromium.size(1200)
    chromium.media()
    if chromium.run("return location.href") != report.as_uri():
        chromium.log()
        chromium.open(report)
    show(chromium, 0)
    chromium.run(AS_AT_FIRST)
    return chromium


AS_AT_FIRST = """
delete performance.now;
document.querySelectorAll(".toolbar input:not(:checked)").forEach((box) => box.click());
document.querySelector(".case button").click();
document.activeElement.blur();
"""


def show(browser: Browser, case: int) -> None:
    browser.run(f"document.querySelectorAll('figure.case')[{case}].scrollIntoView({{ block: 'center' }})")
    browser.wait(f"return document.querySelectorAll('figure.case')[{case}].dataset.ready")
    draw(browser)


def draw(browser: Browser) -> None:
    """Waits until what was asked for is drawn, and events of scrolling have come."""
    frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    browser.cdp("Runtime.evaluate", expression=frames, awaitPromise=True)


def pixels(browser: Browser, view: int = 0) -> str:
    """What a canvas of the first case shows, once it is drawn."""
    draw(browser)
    return str(browser.run(f"return document.querySelectorAll('.case canvas')[{view}].toDataURL()"))


def slider(browser: Browser, view: int = 0) -> int:
    return int(browser.run(f"return document.querySelectorAll('.case .slice input')[{view}].value"))


AXIAL = ".case .view:nth-child(1) canvas"


def test_it_opens_without_a_word_in_the_console_and_without_a_request(page: Browser) -> None:
    for case in (1, 2):
        show(page, case)
    assert page.log() == []
    assert (
        page.run("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    )


def test_the_wheel_goes_through_the_slices(page: Browser) -> None:
    before, at = pixels(page), slider(page)
    page.run(
        "const now = performance.now(); performance.now = () => now + 1000"
    )  # a second after the page was scrolled
    page.wheel(AXIAL, 120)
    page.wait(f"return document.querySelector('.case .slice input').value == {at - 1}")
    assert pixels(page) != before
    assert page.run("return document.querySelector('.case .slice output').value").startswith(f"{at} / ")


def test_each_plane_shows_the_voxels_that_python_cuts(page: Browser, report: Path) -> None:
    run = read_run_folder(report.parent)
    case = read_case(run, next(iter(by_case(run.scores.cases))))
    for box in ("reference", "cross"):
        page.run(f"document.querySelector('#show-{box}').click()")
    with_prediction = [colours_of(pixels(page, view)) for view in range(3)]
    page.run("document.querySelector('#show-prediction').click()")
    for view, plane in enumerate(planes.PLANES):
        index = slider(page, view)
        wanted = planes.to_grey(planes.cut(case.image, plane, index), case.window)
        filled = planes.cut(np.any(list(case.prediction.values()), axis=0), plane, index)
        shown = colours_of(pixels(page, view))
        changed = np.abs(with_prediction[view] - shown).max(axis=2) > 8
        rows, columns = wanted.shape
        y = ((np.arange(rows) + 0.5) * shown.shape[0] / rows).astype(int)
        x = ((np.arange(columns) + 0.5) * shown.shape[1] / columns).astype(int)
        assert np.abs(shown[np.ix_(y, x)].mean(axis=2) - wanted).mean() < 6
        assert filled.any()
        assert (changed[np.ix_(y, x)] == filled).mean() > 0.99


def colours_of(data_url: str) -> np.ndarray:
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(float)


def test_a_drag_with_shift_changes_level_and_window_and_no_slice(page: Browser) -> None:
    told = "return ['.level', 'input.window'].map((css) => Number(document.querySelector('.case ' + css).value))"
    before, at = page.run(told), [slider(page, view) for view in range(3)]
    page.drag(AXIAL, 30, 20, key="shift")
    after = page.run(told)
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert [slider(page, view) for view in range(3)] == at


def test_a_page_that_scrolls_is_not_held_up_by_a_picture(page: Browser) -> None:
    at = slider(page)
    page.run("performance.now = () => 0; window.scrollBy(0, 5)")  # the clock stands still, however slow the machine is
    draw(page)
    page.wheel(AXIAL, 120)
    draw(page)
    assert slider(page) == at


def test_arrow_keys_move_the_slice_after_a_click_in_it(page: Browser) -> None:
    page.click(AXIAL)
    at = slider(page)
    page.press("right")
    assert slider(page) == at + 1
    assert "slice" in page.run("return document.activeElement.getAttribute('aria-valuetext')")


def test_a_click_brings_the_other_planes_there(page: Browser) -> None:
    before = [pixels(page, view) for view in (1, 2)]
    page.click(AXIAL, x=40, y=-30)
    assert all(pixels(page, view) != old for view, old in zip((1, 2), before, strict=True))
    assert len({slider(page, view) for view in (0, 1, 2)}) > 1


@pytest.mark.parametrize("box", ["#show-reference", "#show-prediction", "#show-cross", "[data-region=WT]"])
def test_each_overlay_can_be_taken_away_and_brought_back(page: Browser, box: str) -> None:
    before = pixels(page)
    page.run(f"document.querySelector('{box}').focus()")
    page.press("space")
    without = pixels(page)
    page.press("space")
    assert without != before
    assert pixels(page) == before


def test_level_and_window_change_the_picture_and_reset_brings_it_back(page: Browser) -> None:
    page.click(AXIAL)
    page.run("document.querySelector('.case button').click()")
    before = pixels(page)
    page.run("const s = document.querySelector('.case .level'); s.value = s.max; s.dispatchEvent(new Event('input'))")
    assert pixels(page) != before
    page.run("document.querySelector('.case button').click()")
    assert pixels(page) == before


def test_the_keyboard_reaches_every_control(page: Browser) -> None:
    page.run("document.querySelector('#show-reference').focus()")
    reached = []
    for _ in range(16):
        page.press("tab")
        reached.append(page.run("const e = document.activeElement; return e.className || e.type || e.tagName"))
        assert page.run("return document.activeElement.matches(':focus-visible')")
    wanted = [*["checkbox"] * 5, *["range"] * 3, "level", "window", "button"]
    assert reached[: len(wanted)] == wanted


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_phone_s_width_needs_no_scrolling_sideways_and_text_is_legible(page: Browser, mode: str) -> None:
    page.size(400)
    page.media(prefers_color_scheme=mode)
    assert page.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    contrasts = page.run(CONTRAST)
    assert len(contrasts) > 20
    assert min(contrasts) >= 4.5  # WCAG 2.2, 1.4.3
    dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (mode == "dark")


# Of every piece of text on the page's own paper, by WCAG's relative luminance.
CONTRAST = """
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (text) => { const [r, g, b] = text.match(/[0-9.]+/g).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const paper = light(getComputedStyle(document.body).backgroundColor);
return [...document.querySelectorAll("h1,h2,h3,p,td,th,dt,dd,small,figcaption,label,output,a,summary,li,.tick")]
  .filter((e) => e.textContent.trim() && !e.closest(".plane") && !e.closest("button"))
  .map((e) => light(e.classList.contains("tick") ? getComputedStyle(e).fill : getComputedStyle(e).color))
  .map((ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
"""


def test_motion_that_is_not_wanted_is_not_there(page: Browser) -> None:
    page.media(prefers_reduced_motion="reduce")
    assert page.run("return document.getAnimations().length") == 0
    assert page.run("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_a_heading_sorts_the_cases(page: Browser) -> None:
    column = (
        "[...document.querySelectorAll('#cases .sortable tbody tr')].map((row) => parseFloat(row.cells[1].textContent))"
    )
    page.run("document.querySelectorAll('#cases .sortable thead button')[1].click()")
    values = page.run(f"return {column}")
    assert values == sorted(values)
    page.run("document.querySelectorAll('#cases .sortable thead button')[1].click()")
    assert page.run(f"return {column}") == values[::-1]
    assert page.run("return document.querySelector('#cases .sortable [aria-sort]').ariaSort") == "descending"


def test_without_decompression_streams_the_picture_is_the_same(page: Browser) -> None:
    before = pixels(page)
    script = page.cdp("Page.addScriptToEvaluateOnNewDocument", source="delete globalThis.DecompressionStream")
    try:
        page.cdp("Page.reload")
        show(page, 0)
        assert page.run("return typeof DecompressionStream") == "undefined"
        assert pixels(page) == before
        assert page.log() == []
    finally:
        page.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_without_a_script_there_are_still_pictures(chromium: Browser, report: Path) -> None:
    chromium.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(report)
        assert chromium.run("return getComputedStyle(document.querySelector('.plane svg')).display") != "none"
        assert chromium.run("return getComputedStyle(document.querySelector('.slice')).display") == "none"
    finally:
        chromium.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_forty_cases_open_within_two_seconds_and_fifteen_megabytes(
    chromium: Browser, make_run_once: Callable[..., Path], tmp_path: Path
) -> None:
    """Scans of pure noise, as large as the page takes: nothing is harder to compress."""
    run = make_run_once("forty", cases=40, pictures=False, extras=True)
    rng = np.random.default_rng(0)
    grid = Volume(array=np.zeros((150, 152, 140), np.uint8), affine_ras_mm=np.eye(4), path=Path("grid.nii"))
    items = []
    for case in chosen_cases(list(by_case(read_run_folder(run).scores.cases))).values():
        noise = rng.integers(1, 1000, grid.array.shape, dtype=np.int16)
        write_volume(tmp_path / f"{case}.nii", noise, like=grid)
        labels = np.zeros(grid.array.shape, np.uint8)
        labels[40:90, 50:100, 60:90] = 4
        write_label_map(run / "predictions" / f"{case}.nii", labels, like=grid)
        seg = str(run / "predictions" / f"{case}.nii")
        items.append({"case_id": case, "image": [str(tmp_path / f"{case}.nii")], "label": seg})
    (run / "predictions" / "config.yaml").write_text(yaml.safe_dump({"dataset": {"data": items}}))
    path = write_report(run)
    assert all(f'id="{section}"' in path.read_text() for section in ("lesions", "calibration"))
    assert 10_000_000 < path.stat().st_size < 15_000_000
    took = []
    for _ in range(2):  # the first time, the file may not be in memory
        chromium.open(path)
        show(chromium, 0)
        took.append(chromium.run("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(took) < 2000


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_suite_s_page_is_legible_on_a_phone_and_its_numbers_lead_to_the_jobs(
    chromium: Browser, suite: Path, mode: str
) -> None:
    chromium.size(400)
    chromium.media(prefers_color_scheme=mode)
    chromium.log()
    chromium.open(write_report(suite, jobs=True))
    assert chromium.log() == []
    assert chromium.run("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert min(chromium.run(CONTRAST)) >= 4.5
    chromium.run("document.querySelector('#jobs a').click()")
    chromium.wait("return location.pathname.endsWith('jobs/good-fold0-seed0/report.html')")
    assert chromium.log() == []
