"""The place of a lesson in the course, and the plan, from `examples.tutorial.course`. In Markdown.

```{lesson-place} lesson1
```
```{course-plan}
```
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from examples.tutorial.course import COURSE, SESSIONS, minutes_of, stands


class Place(SphinxDirective):
    """What stands at the head of a lesson."""

    required_arguments = 1

    def run(self):
        """One line, and a list."""
        place, where = COURSE[self.arguments[0]], stands(self.arguments[0])
        lines = [f"{where[0].upper()}{where[1:]} of [the course](teachers.md). Afterwards you can", ""]
        lines += [f"- {one}{'.' if one is place.afterwards[-1] else ','}" for one in place.afterwards]
        box = nodes.admonition("", nodes.title("", "What this lesson is for"), classes=["tip"])
        box += self.parse_text_to_nodes("\n".join(lines))
        return [box]


class Plan(SphinxDirective):
    """The table of all lessons."""

    def run(self):
        """A row for each lesson, below the name of its session."""
        lines = ["| Session | Minutes | Lessons |", "| --- | --- | --- |"]
        for number, title in enumerate(SESSIONS, 1):
            names = [name for name, place in COURSE.items() if place.session == number]
            links = ", ".join(self.link(name) for name in names)
            lines.append(f"| {number}. {title} | {minutes_of(number)} | {links} |")
        return self.parse_text_to_nodes("\n".join(lines))

    def link(self, name):
        """A lesson, and whether it is one of those whose minutes are not in the session's."""
        return f"[{name.removeprefix('lesson')}]({name}.md)" + " (optional)" * COURSE[name].is_optional


def setup(app):
    """Register the directives."""
    app.add_directive("lesson-place", Place)
    app.add_directive("course-plan", Plan)
    return {"parallel_read_safe": True, "env_version": 1}
