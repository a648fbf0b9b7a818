"""Checks the links within the built site: `python docs/check_links.py docs/_build/html`.

Every `href` and `src` that stays within the site must lead to an existing file, and a fragment to an id in
it. Links to other sites are counted and not followed: a build must not depend on them.
"""

import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    """The links and the ids of one page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], {""}
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def check(root):
    """Return what is wrong, a line each, and how many links were looked at."""
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    wrong, seen = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            there = (
                (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path.resolve()
            )
            if not there.is_file():
                wrong.append(f"{path.relative_to(root)}: {link}: no such file")
            elif there in pages and urllib.parse.unquote(parts.fragment) not in pages[there].ids:
                wrong.append(f"{path.relative_to(root)}: {link}: no such place in it")
    return wrong, seen


def main():
    """Say what is wrong; the exit code is 1 if anything is."""
    root = pathlib.Path(sys.argv[1]).resolve()
    wrong, seen = check(root)
    print(*wrong, f"{seen} links within the site, {len(wrong)} of them wrong", sep="\n")
    return bool(wrong) or not seen


if __name__ == "__main__":
    sys.exit(main())
