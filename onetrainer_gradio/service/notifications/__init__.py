"""Notify people of what happens to runs: on the page, in the browser, and through Apprise."""
