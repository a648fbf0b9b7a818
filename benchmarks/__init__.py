"""triosock and its peers on the same work, side by side in one run. How to read it: README.md.

Layout, in reading order:

servers/      one server a file, each a process of its own, in its framework's own style
load/         the load generator, a process of its own too: plain epoll loops, no framework
peers.py      which servers there are, and which kinds of work each can do
works.py      which works there are: the server's kind, the load, who takes part, what is judged
process.py    starting both, and seeing to it that nothing of them is left (leash.py: in whatever way we end)
taking.py     one sample of each of several servers, taken together, slice by slice
rounds.py     interleaved rounds: one sample of each server, then again
ratios.py     medians, and ratios with their spread
thresholds.py the ratios that must not fall
table.py      the result as Markdown
picture.py    the result as an SVG
"""
