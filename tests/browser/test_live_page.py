"""The page of ``--display web`` in a real browser, with a generated picture as the camera."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from stand_ins.page_run import WAIT_S, PageRun

from clipedge.jetson.camera.source import ENDED, LOST, OPENING, SourceStatus
from clipedge.jetson.sensors import read_sensors

MARKUP = "<img src=x onerror=document.title='pwned'>"
LABELS = ("wave", "swipe left", MARKUP, "Daumen hoch " * 6, "no gesture")


@pytest.fixture
def run() -> Iterator[PageRun]:
    """A run whose picture moves 25 times a second."""
    with PageRun(labels=LABELS, size=(240, 320)) as one, moving(one):
        yield one


@contextlib.contextmanager
def moving(run: PageRun) -> Iterator[None]:
    over = threading.Event()

    def go() -> None:
        while not over.wait(0.04):
            run.step(image=picture(run.number))

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WAIT_S)


def picture(number: int) -> np.ndarray:
    """A bright square on its way: (240, 320, 3) uint8, RGB."""
    image = np.full((240, 320, 3), 40, np.uint8)
    left = int(130 + 120 * math.sin(number / 10))
    image[90:150, left : left + 60] = (230, 160, 90)
    return image


def await_state(page: Any, state: str) -> None:
    page.wait_for_function("state => document.body.dataset.state === state", arg=state)


def await_picture(page: Any) -> None:
    page.wait_for_selector("#empty", state="hidden")


def moves(page: Any, for_s: float = 0.4) -> bool:
    """The picture is another one after a while."""
    first = page.locator("#picture").screenshot()
    time.sleep(for_s)
    return bool(page.locator("#picture").screenshot() != first)


def eventually(condition: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_an_event_appears_over_the_picture_in_the_list_and_for_screen_readers(run, open_page):
    page = open_page(run.display.url)
    await_state(page, "live")
    run.step("swipe left", score=0.87)
    page.wait_for_selector("#events li")
    assert page.inner_text("#gesture") == "swipe left"
    assert "87 %" in page.inner_text("#gesture-facts")
    assert page.inner_text("#events li .label") == "swipe left"
    assert page.inner_text("#spoken") == "swipe left, 87 %"
    assert page.get_attribute("#spoken", "aria-live") == "polite"
    assert page.inner_text("#scores li:first-child .label") == "swipe left"
    run.step("wave")
    page.wait_for_selector("#events li:nth-child(2)")
    assert page.inner_text("#events li:first-child .label") == "wave"
    assert page.inner_text("#count") == "2"


def test_the_picture_moves_and_space_holds_it_while_recognition_goes_on(run, open_page):
    page = open_page(run.display.url)
    await_picture(page)
    assert eventually(lambda: moves(page))
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    assert page.inner_text("#held") == "Held"
    assert eventually(lambda: not moves(page))
    run.step("wave")
    page.wait_for_selector("#events li")
    page.keyboard.press("Space")
    assert not page.is_visible("#held")
    assert eventually(lambda: moves(page))


def test_the_name_over_a_held_picture_is_held_too(run, open_page):
    page = open_page(run.display.url)
    await_picture(page)
    run.step("wave")
    page.wait_for_selector("#caption", state="visible")
    page.keyboard.press("Space")
    run.step("swipe left")
    page.wait_for_selector("#events li:nth-child(2)")
    assert page.inner_text("#gesture") == "wave"
    page.keyboard.press("Space")
    assert page.inner_text("#gesture") == "swipe left"


def test_a_lost_source_is_unmistakable_and_so_is_its_return(run, open_page):
    page = open_page(run.display.url)
    await_state(page, "live")
    assert not page.is_visible("#notice") and not page.is_visible("#veil")
    run.status = SourceStatus(LOST, "camera 0 was unplugged; it is tried again every 5 s.")
    await_state(page, "lost")
    assert page.inner_text("#state") == "LOST"
    assert page.inner_text("#veil") == "Source lost"
    assert "unplugged" in page.inner_text("#notice")
    assert page.title().startswith("Lost")
    run.status = SourceStatus(OPENING)
    await_state(page, "opening")
    run.status = SourceStatus()
    await_state(page, "live")
    assert not page.is_visible("#notice") and not page.is_visible("#veil")


def test_a_file_is_not_called_live(open_page):
    with PageRun(labels=LABELS, playing=True) as run:
        page = open_page(run.display.url)
        await_state(page, "live")
        assert page.inner_text("#state") == "PLAYING"
        assert page.title().startswith("Playing")
        run.status = SourceStatus(LOST)
        await_state(page, "lost")
        assert page.inner_text("#state") == "LOST"


def test_a_lost_program_is_said_and_found_again_with_its_next_run(open_page, monkeypatch):
    from clipedge.jetson.display import web_server

    async def crash(hub: Any) -> None:
        for viewer in tuple(hub.viewers):
            viewer.connection.abort()

    with PageRun(labels=LABELS) as run, moving(run):
        page = open_page(run.display.url, quiet=False)  # a browser reports the lost connection
        await_state(page, "live")
        run.step("wave")
        page.wait_for_selector("#events li")
        monkeypatch.setattr(web_server, "_say_goodbye", crash)
        address = f"127.0.0.1:{run.port}"
    await_state(page, "gone")
    assert page.inner_text("#veil") == "No connection"
    assert "lost the program" in page.inner_text("#notice")
    monkeypatch.undo()
    with PageRun(labels=LABELS, address=address) as run, moving(run):
        await_state(page, "live")
        await_picture(page)
        assert page.locator("#events li").count() == 0  # those were of another run
        assert not page.is_visible("#caption")
        run.step("swipe left")
        page.wait_for_selector("#events li")
    await_state(page, ENDED)
    assert page.inner_text("#veil") == "The run has ended"
    assert page.locator("#events li").count() == 1
    with PageRun(labels=LABELS, address=address):
        await_state(page, "live")


def test_before_there_is_anything_it_says_what_is_awaited(open_page):
    with PageRun(labels=LABELS) as run:
        page = open_page(run.display.url)
        await_state(page, "live")
        assert page.inner_text("#collecting") == "Collecting 0.7 s of video"
        assert "No gesture yet" in page.inner_text("#no-events")
        assert "Waiting for the first picture" in page.inner_text("#empty")
        for gone in ("#power", "#temperature", "#caption", "#events"):
            assert not page.is_visible(gone)


def test_facts_rates_and_sensors_are_shown(open_page, tmp_path):
    reading = read_sensors(tmp_path)._replace(
        power_w=7.4, power_from="VDD_IN", temperature_from="no thermal zone was found"
    )
    with PageRun(labels=LABELS, sensors=lambda: reading) as run, moving(run):
        run.step("wave")
        page = open_page(run.display.url)
        await_state(page, "live")
        facts = page.inner_text("#facts")
        for fact in ("tiny_1.0x_test", "onnxruntime", "a test", "no thermal zone was found"):
            assert fact in facts
        assert page.inner_text("#power") == "7.4W"
        assert not page.is_visible("#temperature")
        assert page.inner_text("#latency") == "8.0ms"
        assert eventually(lambda: float(page.inner_text("#frame-rate").rstrip("/s")) > 5)


def test_labels_are_text_whatever_they_hold_and_nothing_foreign_runs(run, open_page):
    page = open_page(run.display.url, quiet=False)  # what is refused below is reported
    await_state(page, "live")
    run.step(MARKUP)
    page.wait_for_selector("#events li")
    assert page.inner_text("#gesture") == MARKUP
    assert page.locator("img").count() == 0
    page.evaluate(
        """() => {
            window.refused = new Set();
            const note = (event) => refused.add(event.effectiveDirective.replace("-elem", ""));
            document.addEventListener("securitypolicyviolation", note);
            const script = document.createElement("script");
            script.textContent = "document.title = 'pwned'";
            const picture = document.createElement("img");
            picture.src = "http://192.0.2.1/x";
            document.body.append(script, picture);
            fetch("http://192.0.2.1/x").catch(() => {});
        }"""
    )
    page.wait_for_function("refused.size >= 3")
    assert sorted(page.evaluate("[...refused]")) == ["connect-src", "img-src", "script-src"]
    assert "pwned" not in page.title()


def test_everything_is_reached_by_keyboard(run, open_page):
    page = open_page(run.display.url)
    await_state(page, "live")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # seen once it has the focus
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "events-title"
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline != "0px" or "BODY" in reached
    assert {"pause", "mirror", "fill", "help", "SUMMARY"} <= reached
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")


def test_the_picture_is_mirrored_by_key_and_remembered(run, open_page):
    page = open_page(run.display.url)
    await_state(page, "live")
    page.keyboard.press("m")
    assert page.get_attribute("#mirror", "aria-pressed") == "true"
    assert page.evaluate("getComputedStyle(picture).transform").startswith("matrix(-1")
    page.reload()
    await_state(page, "live")
    assert page.get_attribute("#mirror", "aria-pressed") == "true"


def test_the_picture_fills_the_screen_by_key(run, open_page):
    page = open_page(run.display.url)
    await_picture(page)
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement?.id === 'frame'")
    page.keyboard.press("f")
    page.wait_for_function("!document.fullscreenElement")


def test_keys_work_while_the_help_is_open_and_close_it(run, open_page):
    page = open_page(run.display.url)
    await_state(page, "live")
    for key, button in (("?", None), ("m", "#mirror"), ("Space", "#pause")):
        page.click("#help")
        assert page.is_visible("#keys")
        page.keyboard.press(key)
        assert not page.is_visible("#keys")
        if button is not None:
            assert page.get_attribute(button, "aria-pressed") == "true"
    page.click("#help")
    page.keyboard.press("Enter")
    assert not page.is_visible("#keys")


@pytest.mark.parametrize("width", [320, 390, 768, 1024])
def test_no_size_needs_to_be_scrolled_sideways(run, open_page, width):
    phone = {"viewport": {"width": width, "height": 800}, "has_touch": True}
    page = open_page(run.display.url, **phone)
    await_picture(page)
    run.step(LABELS[3])
    page.wait_for_selector("#events li")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for text in ("gesture", "events"):  # a long name is wrapped, not cut off
        assert page.evaluate(f"{text}.scrollWidth <= {text}.parentElement.clientWidth + 16"), text
    for button in page.locator("#tools button").all():
        assert button.bounding_box()["height"] >= 40  # a finger is wide


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(run, open_page, scheme):
    page = open_page(run.display.url, color_scheme=scheme, reduced_motion="reduce")
    await_state(page, "live")
    colours = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            const names = ["ground", "card", "text", "quiet", "accent", "live", "warn"];
            const colour = (name) => style.getPropertyValue("--" + name);
            return Object.fromEntries(names.map((name) => [name, colour(name)]));
        }"""
    )
    light = {name: luminance(colour.strip()) for name, colour in colours.items()}
    assert (light["ground"] > light["text"]) == (scheme == "light")
    for text in ("text", "quiet", "accent", "live", "warn"):
        for ground in ("ground", "card"):
            bright, dark = sorted((light[text], light[ground]), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground)  # WCAG AA
    assert page.evaluate("getComputedStyle(gesture).transitionDuration") == "0s"


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_gesture_can_be_read_from_afar(run, open_page):
    page = open_page(run.display.url)
    run.step("wave")
    page.wait_for_selector("#events li")
    height = page.evaluate(
        """() => {
            caption.classList.remove("past"); // it fades after a while
            return gesture.getBoundingClientRect().height;
        }"""
    )
    assert height >= 72


def test_a_token_lets_in_and_leaves_the_address(open_page):
    with PageRun(labels=LABELS, token="let-me-in") as run:
        page = open_page(run.display.url)
        await_state(page, "live")
        assert page.url == f"http://127.0.0.1:{run.port}/"
        stranger = open_page(page.url, quiet=False)
        stranger.fill("input", "wrong")
        stranger.click("button")
        assert "Token needed" in stranger.inner_text("h1")
        stranger.fill("input", "let-me-in")
        stranger.click("button")
        await_state(stranger, "live")


def test_a_new_token_after_a_restart_is_asked_for_instead_of_waiting_for_ever(open_page):
    with PageRun(labels=LABELS, token="first") as run:
        page = open_page(run.display.url, quiet=False)
        await_state(page, "live")
        address = f"127.0.0.1:{run.port}"
    await_state(page, ENDED)
    assert not page.is_visible("#enter")
    with PageRun(labels=LABELS, address=address, token="second"):
        await_state(page, "locked")
        assert "new token" in page.inner_text("#notice")
        assert "goes on" not in page.inner_text("#notice")
        assert page.inner_text("#veil") == "Token needed"
        page.click("#enter")
        page.fill("input", "second")
        page.click("button")
        await_state(page, "live")
        assert not page.is_visible("#enter")


def test_two_viewers_see_the_same_event(run, open_page):
    pages = [open_page(run.display.url) for _ in range(2)]
    for page in pages:
        await_state(page, "live")
    run.step("wave")
    for page in pages:
        page.wait_for_selector("#events li")
