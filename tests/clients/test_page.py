"""The browser client in headless Chromium, against the real server: it plays, it stops at once, captions move."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from bark_server.limits import Limits
from breaking_proxy import BreakingProxy
from prepared_server import Serve
from recorded_sessions import NAMES, python_tells, steps

async_api = pytest.importorskip("playwright.async_api", reason="Playwright is not installed (pip install playwright)")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.asyncio(loop_scope="module"),
]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TEXT = "Good evening, all. How was your trip? The soup is nearly ready. "
LONG_TEXT = TEXT * 4
"""Still being spoken when a busy machine gets round to stopping it."""
WATCH = """() => {
    window.seen = { word: false, loudest: -Infinity };
    const look = () => {
        window.seen.word ||= document.querySelector("#captions p:first-child.now span.now") !== null;
        const level = Number(document.querySelector("#level").getAttribute("aria-valuenow"));
        window.seen.loudest = Math.max(window.seen.loudest, level);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
"""Remembers what passes: a busy machine may not look at the very moment."""
SCREENSHOTS = os.environ.get("BARK_STREAM_SCREENSHOTS")
"""A folder for pictures of the page, for people to look at."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Any) -> AsyncIterator[Any]:
    """A page whose scripts must not fail."""
    context = await browser.new_context(viewport={"width": 1280, "height": 860})
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    await context.close()
    assert problems == []


async def visit(page: Any, url: str) -> None:
    await page.goto(url.replace("ws:", "http:"))
    await page.wait_for_selector("#bark[data-state=idle]")


async def picture(page: Any, name: str) -> None:
    if SCREENSHOTS is not None:
        await page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


async def test_page_speaks_while_typing(serve: Serve, page: Any) -> None:
    """The first sentence is heard before the text is finished; captions light up in order, word by word."""
    first = "Good evening to everybody who came through the rain tonight."
    rest = " How was your trip? The soup is nearly ready. "
    async with serve(speed=4.0) as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        await picture(page, "desktop-ready")
        await page.evaluate(WATCH)
        await page.get_by_role("textbox", name="Text").press_sequentially(first + rest[:5])
        await page.wait_for_function("window.seen.word && window.seen.loudest > -30")
        await page.get_by_role("textbox", name="Text").press_sequentially(rest[5:])
        await page.wait_for_selector("#captions p:nth-child(2).now")
        await picture(page, "desktop-speaking")
        assert "ms" in await page.locator("#first").inner_text()
        await page.wait_for_selector("#bark[data-state=idle]")
        assert await page.locator("#captions p").all_inner_texts() == [
            first,
            rest.strip(),
        ]
        assert await page.locator("#captions span.heard").count() == len((first + rest).split())
        assert await page.locator("#gaps").inner_text() == "0"
        assert "real time" in await page.locator("#speed").inner_text()


async def test_page_stops_at_once(serve: Serve, page: Any) -> None:
    """After a stop nothing more is heard, the server is free, and what was not heard is struck out."""
    async with serve(speed=4.0) as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        await page.locator("#text").fill(LONG_TEXT)
        await page.keyboard.press("Control+Enter")
        await page.wait_for_selector("#captions p:nth-child(2).now")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("#bark[data-state=idle]")
        assert await page.locator("#status").inner_text() == "Stopped"
        before = await page.locator("#captions").inner_html()
        assert await page.locator("#captions .unheard").count() > 0
        assert await page.locator("#captions .now").count() == 0
        await page.wait_for_function("document.querySelector('#level').getAttribute('aria-valuenow') === '-60'")
        assert await page.locator("#captions").inner_html() == before
        await picture(page, "desktop-stopped")
        assert server.hub is not None
        assert server.hub.admission.num_contexts == 0


async def test_page_speaks_again_after_a_stop(serve: Serve, page: Any) -> None:
    """What was stopped stays unsaid; what is typed then is a new turn; Speak says the whole box once more."""
    async with serve() as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        await page.locator("#text").fill(TEXT)
        await page.get_by_role("button", name="Speak").click()
        await page.wait_for_selector("#captions p.now")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("#bark[data-state=idle]")
        await page.locator("#text").press_sequentially("No. Wait. ")
        # A slow machine may fall silent between the two.
        await page.wait_for_selector("#captions p:has-text('Wait.')")
        await page.wait_for_selector("#bark[data-state=idle]")
        texts = await page.locator("#captions p").all_inner_texts()
        assert "".join(texts[2:]).replace(" ", "") == "No.Wait."
        await page.get_by_role("button", name="Speak").click()
        await page.wait_for_selector("#captions p:last-child.now")
        assert (await page.locator("#captions p").all_inner_texts()).count(texts[1]) == 2


async def test_page_without_webcodecs_plays_pcm(serve: Serve, page: Any) -> None:
    """A browser without an Opus decoder asks for PCM and is heard all the same."""
    await page.add_init_script("delete window.AudioDecoder")
    async with serve() as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        assert await page.locator("#format").input_value() == "pcm_s16le"
        await page.locator("#text").fill("Good evening.")
        await page.get_by_role("button", name="Speak").click()
        await page.wait_for_function("Number(document.querySelector('#level').getAttribute('aria-valuenow')) > -30")
        await page.wait_for_selector("#bark[data-state=idle]")
        assert await page.locator("#captions span.heard").count() == 2


@pytest.mark.parametrize("how", ["cut", "silent until the network is back"])
async def test_page_survives_a_broken_socket(serve: Serve, page: Any, how: str) -> None:
    """A break in mid-speech is made up for: every word is heard once."""
    async with serve(speed=4.0) as server, BreakingProxy(server.port) as proxy:
        await visit(page, proxy.url)
        await page.locator("#text").fill(TEXT)
        await page.get_by_role("button", name="Speak").click()
        await page.wait_for_selector("#captions p:first-child.now")
        if how == "cut":
            proxy.cut()
        else:
            proxy.freeze()
            await page.evaluate("window.dispatchEvent(new Event('online'))")
        await page.wait_for_selector("#captions p:nth-child(2).now")
        await page.wait_for_selector("#bark[data-state=idle]")
        assert await page.locator("#captions span.heard").all_inner_texts() == TEXT.split()


async def test_page_asks_for_the_key(serve: Serve, page: Any) -> None:
    """A server that wants a key gets the one typed under Connection."""
    async with serve(api_keys=("correct-horse",)) as server:
        await page.goto(f"http://127.0.0.1:{server.port}")
        await page.wait_for_selector("#bark[data-state=error]")
        await page.get_by_text("Connection", exact=True).click()
        await page.get_by_label("API key").fill("correct-horse")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#bark[data-state=idle]")


async def test_page_tells_that_the_server_is_busy(serve: Serve, page: Any) -> None:
    """A refusal is said in words, and the page is ready for another try."""
    async with serve(limits=replace(Limits(), max_contexts=1)) as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        await page.evaluate(
            """async () => {
                const { BarkClient } = await import("/bark.js");
                const url = location.origin.replace("http", "ws") + "/v1/stream";
                await new Promise((resolve) => {
                    const onstate = (state, client) => state === "ready" && client.open({}, { opened: resolve });
                    new BarkClient(url, { onstate });
                });
            }"""
        )
        await page.locator("#text").fill(TEXT)
        await page.get_by_role("button", name="Speak").click()
        await page.wait_for_function("document.querySelector('#status').textContent.includes('busy')")
        await page.wait_for_selector("#stop:disabled")
        assert "busy" in await page.locator("#status").inner_text()


async def test_page_fits_narrow_screens(serve: Serve, page: Any) -> None:
    """Nothing sticks out sideways, and the buttons are large enough for a thumb."""
    async with serve(speed=4.0) as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        await page.locator("#text").fill(LONG_TEXT)
        await page.get_by_role("button", name="Speak").click()
        await page.wait_for_selector("#captions p:nth-child(2).now")
        for width, height in ((320, 640), (390, 844)):
            await page.set_viewport_size({"width": width, "height": height})
            await picture(page, f"width-{width}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            for name in ("Speak", "Stop"):
                box = await page.get_by_role("button", name=name).bounding_box()
                assert box["height"] >= 44
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
        await page.get_by_role("button", name="Stop").click()
        await page.wait_for_function("document.querySelector('#status').textContent === 'Stopped'")


async def test_page_is_reachable_by_keyboard(serve: Serve, page: Any) -> None:
    """Tab goes through every control in reading order, and each has a name."""
    async with serve() as server:
        await visit(page, f"http://127.0.0.1:{server.port}")
        visited = []
        await page.locator("#captions").focus()
        for _ in range(6):
            visited.append(await page.evaluate("document.activeElement.id || document.activeElement.localName"))
            await page.keyboard.press("Tab")
        assert visited == ["captions", "text", "voice", "typing", "speak", "summary"]
        for role, name in (("textbox", "Text"), ("combobox", "Voice"), ("checkbox", "Speak while I type")):
            assert await page.get_by_role(role, name=name).count() == 1
        for role, name in (("meter", "Level in decibels"), ("log", "Captions"), ("status", "")):
            assert await page.get_by_role(role, name=name).count() == 1


RECORDED = """async (steps) => {
    // A socket that a recording speaks through.
    let socket;
    const sent = [];
    window.WebSocket = class {
        constructor() { socket = this; }
        send(data) { sent.push(JSON.parse(data)); }
        close() {}
    };
    const { BarkClient } = await import("/bark.js");
    const told = [];
    const onerror = (message) => told.push([null, "error", message.code]);
    const client = new BarkClient("ws://recorded/", { onerror });
    const contexts = {};
    const hear = (data) => socket.onmessage({ data });
    const open = ({ type, ...options }) => {
        const tell = (...facts) => told.push([options.context, ...facts]);
        contexts[options.context] = client.open(options, {
            opened: (m) => tell("opened", m.stream),
            sentence: (m) => tell("sentence", m.text, m.start_ms),
            words: (m) => tell("words", m.words.map((word) => word.text)),
            packet: (p) => tell("packet", p.sequence, p.timestamp, p.payload.length),
            done: (m) => tell("done", m.audio_ms),
            cancelled: (m) => tell("cancelled", m.spoken, m.unspoken),
            error: (m) => tell("error", m.code),
        });
    };
    for (const step of steps) {
        if (step.open) open(step.open);
        else if (step.ask) {
            const { type, context, text, played_ms: ms } = step.ask;
            const turn = contexts[context];
            ({ text: () => turn.send(text), flush: () => turn.flush(), close: () => turn.close(),
               cancel: () => turn.cancel(ms), played: () => turn.played(ms) })[type]();
        } else if (step.audio) hear(Uint8Array.from(atob(step.audio), (c) => c.charCodeAt(0)).buffer);
        else if (step.server) hear(JSON.stringify(step.server));
        else if (step.do === "reconnect") { socket.onclose(); clearTimeout(client.retry); client.connect(); }
    }
    return [told, sent];
}"""


@pytest.mark.parametrize("name", NAMES)
async def test_page_lives_through_recorded_sessions_as_the_python_client(serve: Serve, page: Any, name: str) -> None:
    """Both clients tell the same and send the same, given the same."""
    async with serve() as server:
        await page.goto(f"http://127.0.0.1:{server.port}/icon.svg")
        told, sent = await page.evaluate(RECORDED, steps(name))
    python_told, python_sent = python_tells(name)
    # The page hands captions over when they come, Python with the packet they belong to.
    captions = ("sentence", "words")
    for is_caption in (False, True):
        assert [fact for fact in told if (fact[1] in captions) is is_caption] == [
            fact for fact in python_told if (fact[1] in captions) is is_caption
        ]
    assert sent == python_sent


PLAYER = """async () => {
    self.sampleRate = 24000;
    self.AudioWorkletProcessor = class { constructor() { this.port = { postMessage: (m) => told.push(m) }; } };
    let Processor;
    self.registerProcessor = (_name, processor) => { Processor = processor; };
    const told = [];
    await import("/worklet.js");
    const player = new Processor();
    const heard = [];
    const send = (message) => player.port.onmessage({ data: message });
    const run = (ms) => {
        for (let count = 0; count < ms * 24; count += 96) {
            const block = new Float32Array(96);
            player.process([], [[block]]);
            heard.push(...block);
        }
    };
    const push = (ms, startsSentence = false) =>
        send({ type: "push", turn: 1, pcm: new Float32Array(ms * 24).fill(0.5), startsSentence });
    const ends = () => told.filter((m) => m.type !== "state").map((m) => [m.type, m.played / 24]);
    send({ type: "begin", turn: 1 });
    %s
}"""


async def play(page: Any, server: Any, script: str) -> Any:
    """Run the audio thread's code by hand: 4 ms a step."""
    await page.goto(f"http://127.0.0.1:{server.port}/icon.svg")
    return await page.evaluate(PLAYER % script)


async def test_jitter_buffer_waits_for_80_ms(serve: Serve, page: Any) -> None:
    """It begins when enough is there, not before; the first and last samples are faded."""
    async with serve() as server:
        silent, heard = await play(
            page,
            server,
            """push(60); run(40); const silent = Math.max(...heard); push(20); run(60);
            return [silent, heard.slice(40 * 24)];""",
        )
    assert silent == 0
    assert 0 < heard[0] < 0.01
    assert heard[200] == 0.5
    assert max(abs(b - a) for a, b in pairwise(heard)) < 0.01


async def test_jitter_buffer_fades_and_grows_when_it_runs_dry(serve: Serve, page: Any) -> None:
    """A gap in mid-sentence makes no click, is counted, and makes the buffer wait for 40 ms more."""
    async with serve() as server:
        heard, gaps, waiting = await play(
            page,
            server,
            """push(100); run(200); push(100); run(20); const waiting = player.isPlaying; push(30); run(200);
            return [heard, player.gaps, waiting];""",
        )
    assert gaps == 1
    assert waiting is False
    assert sum(abs(sample) > 0 for sample in heard) >= 225 * 24
    assert max(abs(b - a) for a, b in pairwise(heard)) < 0.01


async def test_jitter_buffer_takes_a_pause_between_sentences_for_no_gap(serve: Serve, page: Any) -> None:
    """Somebody who types slowly does not make the buffer longer."""
    async with serve() as server:
        gaps, start = await play(
            page,
            server,
            "push(100, true); run(200); push(100, true); run(40); return [player.gaps, player.start / 24];",
        )
    assert (gaps, start) == (0, 80)


async def test_jitter_buffer_is_silent_5_ms_after_stop(serve: Serve, page: Any) -> None:
    """A stop fades out within one fade, whatever is buffered, and tells how much was heard."""
    async with serve() as server:
        rest, ends = await play(
            page,
            server,
            """push(2000); run(100); const before = heard.length; send({ type: "stop" }); run(100);
            return [heard.slice(before + 5 * 24 + 1), ends()];""",
        )
    assert max(rest) == 0
    [[how, played_ms]] = ends
    assert how == "stopped"
    assert 100 <= played_ms <= 106


async def test_jitter_buffer_plays_short_turns_to_their_end(serve: Serve, page: Any) -> None:
    """A turn shorter than the buffer is heard whole, and its end is told."""
    async with serve() as server:
        ends, heard = await play(
            page, server, 'push(50); send({ type: "end", turn: 1 }); run(100); return [ends(), heard];'
        )
    assert ends == [["finished", 50]]
    assert sum(sample > 0 for sample in heard) == 50 * 24
