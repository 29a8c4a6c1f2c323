"""The Content-Security-Policy in a real browser: the page works with it, and injected scripts don't run."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import READY

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.mark.exhaustive
def test_no_tab_violates_the_policy(visitor, panel):
    """The visitor fails on any violation on any tab, with a run, its sample and its chart."""
    for tab in READY:
        visitor.open(tab).close()
    page = visitor.open("training")
    page.locator("#og-start").click()
    panel.wait(lambda state: state["update_step"] > 2)
    page.locator("#og-sample").click()
    page.get_by_role("tab", name="Samples").click()
    page.get_by_role("tab", name="System").click()
    page.get_by_role("tab", name="Configuration").click()
    page.locator(READY["configuration"]).first.wait_for()


@pytest.mark.exhaustive
def test_the_pages_of_the_api_live_with_their_policy(visitor, panel):
    page = visitor.blank()
    page.goto(panel.url + "docs")
    page.locator(".opblock").first.wait_for()
    page.goto(panel.url + "redoc")
    page.locator("h1").first.wait_for()


def test_a_script_that_came_in_with_a_text_does_not_run(visitor):
    """Inline scripts, handlers and links to scripts are blocked, and so are requests to other machines."""
    page = visitor.open("configuration")
    reached = page.evaluate(
        """async () => {
            const blocked = [];
            document.addEventListener('securitypolicyviolation', (event) => blocked.push(event.effectiveDirective));
            window.ran = [];
            const script = document.createElement('script');
            script.textContent = 'window.ran.push("script")';
            document.body.append(script);
            const holder = document.createElement('div');
            const link = '<a href="javascript:window.ran.push(1)">x</a>';
            holder.innerHTML = `<img src="x" onerror="window.ran.push('handler')">${link}`;
            document.body.append(holder);
            holder.querySelector('a').click();
            try { await fetch('http://127.0.0.1:9/'); } catch { }
            await new Promise((resolve) => setTimeout(resolve, 300));
            return [window.ran, blocked];
        }"""
    )
    assert reached[0] == []
    assert {"script-src-elem", "script-src-attr", "connect-src"} <= set(reached[1])
    visitor.faults[:] = [fault for fault in visitor.faults if not re.search("Content Security Policy", fault)]


@pytest.mark.exhaustive
def test_the_page_is_not_framed_by_another(visitor, panel):
    page = visitor.blank()
    page.set_content(f'<iframe src="{panel.url}"></iframe>')
    page.wait_for_timeout(500)
    assert not any(frame.url == panel.url and frame.locator("#og-tabs").count() for frame in page.frames)
    visitor.faults[:] = [fault for fault in visitor.faults if "frame" not in fault.lower()]
