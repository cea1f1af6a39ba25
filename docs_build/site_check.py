"""Whether a built site is whole and asks nobody for anything.

    python docs_build/site_check.py site

Every file that a page names lies in the site; scripts, styles, fonts, pictures and frames all come
from it; formulas were understood.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "input": "src", "object": "data",
    "script": "src", "source": "src", "track": "src", "video": "src",
}  # fmt: skip
"""Elements that make a browser load what they name, and the attribute with the name."""
IDLE_LINKS = {"canonical", "next", "prev", "alternate"}
"""A `<link>` with one of these says something and loads nothing."""
STYLE_URL = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")


class Page(HTMLParser):
    """What one page loads, and what it links to.

    Attributes:
        loaded: Addresses that a browser fetches to show the page.
        linked: Addresses that a reader may follow.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.feed(html)
        self.loaded += style_urls(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sorts an element's addresses."""
        found = {name: value for name, value in attrs if value}
        if tag in LOADED and LOADED[tag] in found:
            self.loaded.append(found[LOADED[tag]])
        if "srcset" in found:
            self.loaded += [part.split()[0] for part in found["srcset"].split(",")]
        if "href" in found:
            idle = tag == "a" or found.get("rel") in IDLE_LINKS
            (self.linked if idle else self.loaded).append(found["href"])


def style_urls(text: str) -> list[str]:
    """Addresses in CSS."""
    return [first or second for first, second in STYLE_URL.findall(text)]


def faults(site: Path) -> list[str]:
    """What is wrong with the site, a line each."""
    return [f"{file.relative_to(site)}: {fault}" for file in sorted(site.rglob("*"))
            for fault in _faults(site, file)]  # fmt: skip


def _faults(site: Path, file: Path) -> Iterator[str]:
    if file.suffix == ".html":
        html = file.read_text(encoding="utf-8")
        page = Page(html)
        loaded, linked = page.loaded, page.linked
        if "<merror" in html or re.search(
            r"\\(frac|sum|left|hat)\b", re.sub(r"(?s)<code.*?</code>", "", html)
        ):
            yield "a formula that was not understood"
    elif file.suffix == ".css":
        loaded, linked = style_urls(file.read_text(encoding="utf-8")), []
    else:
        return
    for address in loaded:
        if urlsplit(address).scheme not in ("", "data") or urlsplit(address).netloc:
            yield f"loads {address} from elsewhere"
    for address in [*loaded, *linked]:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or not parts.path:
            continue
        path = unquote(parts.path)
        target = site / path.lstrip("/") if path.startswith("/") else file.parent / path
        if not target.exists():
            yield f"names {address}, which is not there"


def main(argv: list[str]) -> int:
    """Prints the faults; 1 if there are any."""
    found = faults(Path(argv[0]))
    print(*found, sep="\n", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
