"""Pages, written and parsed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "hr", "input"}


def write_page(recorded, tmp_path_factory):
    """Write the page of a recorder or of a timeline; return where it is."""
    path = tmp_path_factory.mktemp("page") / "run.html"
    recorded.write_html(path)
    return path


class Parser(HTMLParser):
    """Knows the tags of a page, its ids and its text, and that what is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(text):
    """Return the parsed page, which is well-formed."""
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def check_loads_nothing(text):
    """The page is one file: it has no picture, script or style from elsewhere, and asks for nothing."""
    tags = parse(text).tags
    assert not [
        tag for tag, attrs in tags if tag in ("link", "img", "iframe") or "src" in attrs or "href" in attrs
    ]
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\s*\(", text)
