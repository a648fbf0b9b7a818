"""Checks the layout of the built site: `python docs/look.py docs/_build/html [FOLDER]`.

Every page is opened in headless Chromium at a phone's width, and must not be wider than that: wide parts
scroll by themselves. With a folder, pictures of every page are written there, for desk and phone, light and
dark.
"""

import html
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PHONE, DESK = 390, 1400
MEASURE = """<!doctype html><title>widths</title><script>
function measure(frame) {
  frame.title = frame.contentDocument.documentElement.scrollWidth;
}
</script>"""


def chromium(*options):
    """Run Chromium, and return what it printed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        sys.exit("this needs Chromium: apt-get install chromium")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def too_wide(pages):
    """Return the pages that are wider than a phone, with their widths."""
    frames = "".join(
        f'<iframe src="{html.escape(page.as_uri())}" width="{PHONE}" height="800" '
        'onload="measure(this)"></iframe>'
        for page in pages
    )
    with tempfile.TemporaryDirectory() as folder:
        wrapper = pathlib.Path(folder) / "widths.html"
        wrapper.write_text(MEASURE + frames, "utf-8")
        options = "--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom"
        dom = chromium(*options, wrapper.as_uri())
    widths = [int(width) for width in re.findall(r'<iframe [^>]*title="(\d+)"', dom)]
    if len(widths) != len(pages):
        sys.exit(f"measured {len(widths)} of {len(pages)} pages")
    return [(page, width) for page, width in zip(pages, widths, strict=True) if width > PHONE]


def take_pictures(pages, root, folder):
    """Leave four pictures of each page."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        name = "-".join(page.relative_to(root).with_suffix("").parts)
        for width, kind in ((DESK, "desk"), (500, "phone")):  # no window is narrower than 500
            for scheme, number in (("light", 1), ("dark", 0)):
                chromium(
                    f"--window-size={width},2400",
                    f"--blink-settings=preferredColorScheme={number}",
                    f"--screenshot={folder / f'{name}-{kind}-{scheme}.png'}",
                    page.as_uri(),
                )


def main():
    """Say which pages are too wide; the exit code is 1 if any is."""
    root = pathlib.Path(sys.argv[1]).resolve()
    pages = [page for page in sorted(root.rglob("*.html")) if "_static" not in page.parts]
    wide = too_wide(pages)
    for page, width in wide:
        print(f"{page.relative_to(root)}: {width} pixels wide on a phone of {PHONE}")
    print(f"{len(pages)} pages looked at, {len(wide)} of them too wide")
    if sys.argv[2:]:
        take_pictures(pages, root, pathlib.Path(sys.argv[2]).resolve())
    return bool(wide)


if __name__ == "__main__":
    sys.exit(main())
