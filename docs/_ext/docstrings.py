"""Converts the docstrings of the code for docutils, and links the names in them.

The docstrings of triosock are written to be read in an editor: "Args:", "Returns:", "Drain:" begin a line or
a sentence, and names are in single backticks. Here the sections become paragraphs, and a name that is
documented becomes a link. A public name is linked by its public place, wherever the code has it.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import triosock
import triosock.compat
import triosock.dtls
import triosock.events
import triosock.observe
import triosock.testing

SECTIONS = "Args|Returns|Raises|Cancellation|Drain|End of stream|Errors|Closing|Timeouts"
OPENING = re.compile(rf"^({SECTIONS}): *(.*)$")
INSIDE = re.compile(rf"(?<=[.;)`] )({SECTIONS}):(?= |$)")
ITEM = re.compile(r"^  (\*{0,2}\w[\w, ]*): (.*)$")

#: The modules whose names are public, the nearest first.
PUBLIC = (triosock, triosock.observe, triosock.testing, triosock.events, triosock.dtls)


def public_names():
    """Return the public place of each name that the code has elsewhere: {"triosock._core.x.Name": …}."""
    places = {}
    for module in PUBLIC:
        for name in module.__all__:
            thing = getattr(module, name)
            home = getattr(thing, "__module__", None)
            if home and hasattr(thing, "__qualname__"):
                places.setdefault(f"{home}.{thing.__qualname__}", f"{module.__name__}.{name}")
    return places


PLACES = public_names()
SHORT = {place.rpartition(".")[2]: place for place in PLACES.values()}
SHORT |= {f"compat.{name}": f"triosock.compat.{name}" for name in (*triosock.compat._NEW, "install")}


def rewrite(app, what, name, obj, options, lines):
    """Make paragraphs of the sections of one docstring, and a list of its arguments."""
    out, source = [], list(lines)
    while source:
        line = source.pop(0)
        found = OPENING.match(line)
        if not found:
            out.append(INSIDE.sub(r"**\1:**", line))
            continue
        title, rest = found.groups()
        if out and out[-1]:
            out.append("")
        if rest:
            out.append(f"**{title}:** " + INSIDE.sub(r"**\1:**", rest))
        else:
            out += [f"**{title}:**", ""]
            while source and (source[0].startswith("  ") or not source[0]):
                item = ITEM.match(source[0])
                if item:
                    names = ", ".join(f"`{one.strip()}`" for one in item[1].replace("*", "").split(","))
                    out += [names, "    " + item[2]]
                else:
                    out.append(source[0] and "    " + source[0].strip())
                source.pop(0)
            out.append("")
    lines[:] = out


class LinkNames(SphinxTransform):
    """Names in backticks are links, where they are documented."""

    default_priority = 5

    def apply(self, **options):
        """Wrap each literal that is a public name, or a method of a public class, in a reference."""
        for literal in list(self.document.findall(nodes.literal)):
            target = target_of(literal.astext())
            if target is None or any_parent(literal, (nodes.reference, addnodes.pending_xref, nodes.title)):
                continue
            reference = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=True
            )
            reference["refdoc"] = self.env.docname
            literal.replace_self(reference)
            reference += literal


def any_parent(node, kinds):
    """Whether one of these is around the node."""
    while node is not None:
        if isinstance(node, kinds):
            return True
        node = node.parent
    return False


def target_of(text):
    """Return what a text in backticks is the name of, or None."""
    name = re.sub(r"\(.*\)$", "", text).removeprefix("triosock.").removeprefix("observe.")
    name = name.removeprefix("testing.").removeprefix("events.")
    if name in SHORT:
        return SHORT[name]
    first, _, member = name.partition(".")
    first = {"conn": "Connection", "server": "StreamServer"}.get(first, first)
    if first in SHORT and member and documented(first, member):
        return f"{SHORT[first]}.{member}"
    return None


def documented(first, member):
    """Whether autodoc describes this member of a public class: a method or a property with a docstring."""
    for module in PUBLIC:
        thing = getattr(getattr(module, first, None), member, None)
        if thing is not None and (callable(thing) or isinstance(thing, property)):
            return bool(thing.__doc__) and not member.startswith("_")
    return False


def resolve(app, env, node, contnode):
    """Find public names by their public place; leave what others document as plain text."""
    target = node.get("reftarget", "")
    place = PLACES.get(target)
    if place is not None:
        domain = env.domains["py"]
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", place, node, contnode)
    if "refexplicit" not in node or target.partition(".")[0] != "triosock":
        # Of a signature, where Sphinx makes a link of whatever a type is called; or somebody else's name.
        return contnode
    return None


def setup(app):
    """Register all of it."""
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("missing-reference", resolve)
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True}
