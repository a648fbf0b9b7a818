"""A picture of the packages and their imports, made from the code when the site is built.

.. layers::

An arrow means "imports from", and points down. Implied arrows are left out: if A imports from B, and B from
C, there is no line from A to C.
"""

import pathlib

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from tests.source_tree import imports_of, read

ROOT = pathlib.Path(__file__).parents[2]
#: Of these the picture has the packages inside.
SHOWN = {"_core": "#2f6f9f", "compat": "#2f7a4f"}
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 108, 34, 18, 44, 12


def package_of(module):
    """Return the package that the picture has for a module, or None."""
    parts = module.split(".")
    if parts[0] != "triosock" or len(parts) < 2:
        return None
    if parts[1] in SHOWN:
        return (
            ".".join(parts[1:3])
            if len(parts) > 2 and (ROOT / "triosock" / parts[1] / parts[2]).is_dir()
            else None
        )
    folder = ROOT / "triosock" / parts[1]
    return parts[1] if folder.is_dir() or parts[1] in ("signals", "handlers") else None


def arrows():
    """Return {package: the packages that it imports from}; imports for type checkers and late ones count."""
    found = {}
    for one in imports_of(read(ROOT, "triosock")):
        importer, target = package_of(one.source.module), package_of(one.target)
        if importer:
            found.setdefault(importer, set())
        if target:
            found.setdefault(target, set())
        if importer and target and importer != target:
            found[importer].add(target)
    return found


def below(package, found):
    """Return everything that a package imports, directly or by way of others."""
    reached, ahead = set(), [package]
    while ahead:
        for target in found[ahead.pop()] - reached:
            reached.add(target)
            ahead.append(target)
    return reached


def levels(found):
    """Return {package: its height above those that import nothing}."""
    heights = {}

    def height(package):
        if package not in heights:
            heights[package] = 1 + max((height(one) for one in found[package]), default=-1)
        return heights[package]

    for package in found:
        if package in below(package, found):
            raise ValueError(f"{package} imports what leads back to it, and so has no place in the picture")
        height(package)
    return heights


def places(found):
    """Return {package: (x, y)} of the upper left corners, and the size of the whole."""
    heights = levels(found)
    rows = [
        sorted(one for one in found if heights[one] == level) for level in range(max(heights.values()) + 1)
    ]
    widest = max(len(row) * (WIDTH + GAP_X) - GAP_X for row in rows)
    where = {}
    for level, row in enumerate(reversed(rows)):
        left = MARGIN + (widest - (len(row) * (WIDTH + GAP_X) - GAP_X)) / 2
        for number, package in enumerate(row):
            where[package] = (left + number * (WIDTH + GAP_X), MARGIN + level * (HEIGHT + GAP_Y))
    return where, (widest + 2 * MARGIN, len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN)


def picture(found):
    """Return the SVG."""
    where, (width, height) = places(found)
    words = "; ".join(
        f"{package} imports from {', '.join(sorted(found[package])) or 'none of the others'}"
        for package in sorted(found)
    )
    lines = [
        f'<svg class="layers" viewBox="0 0 {width:g} {height:g}" role="img" style="width: 100%" '
        f'font-family="sans-serif" font-size="13">',
        f"<title>The packages of triosock: every arrow points down</title><desc>{words}.</desc>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
    ]
    for package, (x, y) in where.items():
        implied = set().union(*(below(one, found) for one in found[package]))
        for target in sorted(found[package] - implied):
            to_x, to_y = where[target]
            lines.append(
                f'<line x1="{x + WIDTH / 2:g}" y1="{y + HEIGHT:g}" x2="{to_x + WIDTH / 2:g}" y2="{to_y:g}" '
                'stroke="currentColor" stroke-opacity="0.45" marker-end="url(#tip)"/>'
            )
    for package, (x, y) in where.items():
        outer, _, name = package.rpartition(".")
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" '
            f'fill="{SHOWN.get(outer, "#6b6b6b")}"/>'
            f'<text x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 4.5:g}" text-anchor="middle" fill="#fff">'
            f"{name}</text>"
        )
    return "\n".join([*lines, "</svg>"])


class Layers(SphinxDirective):
    """The picture, with the arrows in words for who cannot see it."""

    def run(self):
        """Read the imports, and draw."""
        figure = f'<figure class="run">{picture(arrows())}</figure>'
        return [nodes.raw("", figure, format="html")]


def setup(app):
    """Register the directive."""
    app.add_directive("layers", Layers)
    return {"parallel_read_safe": True}
