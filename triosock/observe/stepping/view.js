// The page: buttons, keys and a slider move `at`, a position in `steps`; everything else is drawn from it.
(() => {
  const $ = (id) => document.getElementById(id);
  const run = new Run(JSON.parse($("run").textContent));
  const MOST_ROWS = 300, PACE = 800;
  let steps = [], at = 0, pinned = null, playing = null, order = [];

  const make = (tag, name, ...inside) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...inside);
    return element;
  };
  const event = () => (steps.length ? steps[at] : -1);
  const subject = () => pinned ?? (event() < 0 ? null : run.data.events[event()][2] || null);

  // Moving

  function choose(position) {
    at = Math.min(Math.max(position, 0), Math.max(steps.length - 1, 0));
    draw();
  }

  function filter() {
    const before = event();
    const only = $("only").checked ? pinned ?? subject() : null;
    steps = run.steps($("level").value, only);
    $("slider").max = Math.max(steps.length - 1, 0);
    const next = steps.findIndex((number) => number >= before);
    choose(next < 0 ? steps.length - 1 : next);
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    $("play").textContent = "Play";
    $("said").setAttribute("aria-live", "polite");
  }

  function play() {
    if (playing !== null) return stop();
    if (at === steps.length - 1) choose(0);
    $("play").textContent = "Stop";
    $("said").setAttribute("aria-live", "off"); // a screen reader could not keep up
    playing = setInterval(() => {
      choose(at + 1);
      if (at >= steps.length - 1) stop();
    }, PACE);
  }

  const go = (position) => { stop(); choose(position); };

  function seek(direction) {
    const number = Number($("whose").value);
    const found = run.find(steps, at, direction, $("what").value, number > 0 ? number : null);
    if (found >= 0) go(found);
    $("found").textContent = found >= 0 ? "" : direction > 0 ? "No such step after this one." : "No such step before this one.";
  }

  function pin(n) {
    pinned = n;
    if ($("only").checked) filter();
    else draw();
  }

  // Drawing

  function draw() {
    const number = event(), state = run.at(number);
    const said = run.say(number, state);
    const when = number < 0 ? "" : seconds(run.times[number]);
    $("slider").value = at;
    $("slider").setAttribute("aria-valuetext", `step ${at + 1} of ${steps.length}: ${said}`);
    $("count").textContent = steps.length ? `Step ${at + 1} of ${steps.length}, at ${when}` : "No steps";
    $("said").textContent = said;
    for (const id of ["first", "back"]) $(id).setAttribute("aria-disabled", at === 0);
    for (const id of ["next", "last"]) $(id).setAttribute("aria-disabled", at >= steps.length - 1);
    drawTree(state);
    drawTask(state);
    moveCursor(number < 0 ? 0 : run.times[number]);
    if (at && location.protocol !== "about:") history.replaceState(null, "", `#step-${at + 1}`);
  }

  function drawTree(state) {
    const inside = new Map([[0, []]]), nurseries = new Map();
    for (const task of state.tasks.values()) {
      if (!inside.has(task.nursery)) inside.set(task.nursery, []);
      inside.get(task.nursery).push(task);
    }
    for (const [nursery, owner] of state.nurseries) {
      if (!nurseries.has(owner)) nurseries.set(owner, []);
      nurseries.get(owner).push(nursery);
    }
    order = [];
    const room = { rows: MOST_ROWS };
    $("tree").replaceChildren(list(inside.get(0), inside, nurseries, state, room));
  }

  function list(tasks, inside, nurseries, state, room) {
    const shown = make("ul", "");
    let left = 0;
    for (const task of tasks) {
      if (room.rows <= 0 && task.n !== subject()) { left++; continue; }
      room.rows--;
      order.push(task.n);
      const item = make("li", "", row(task, state));
      for (const nursery of nurseries.get(task.n) || []) {
        const children = inside.get(nursery) || [];
        const title = make("span", "nursery", `nursery ${nursery}${children.length ? "" : ", empty"}`);
        item.append(make("div", "bracket", title, list(children, inside, nurseries, state, room)));
      }
      shown.append(item);
    }
    if (left) shown.append(make("li", "more", `and ${left} more`));
    return shown;
  }

  function row(task, state) {
    const waits = task.kind === "w" ? run.place(task.stack)?.waits : "";
    const cancelled = task.struck && "rk".includes(task.kind) ? ", cancelled" : "";
    const button = make(
      "button", `task is-${task.kind}`,
      make("b", "", String(task.n)), " ", make("span", "name", short(task.name)), " ",
      make("span", "state", STATES[task.kind] + (waits ? ` for ${waits}` : "") + cancelled),
    );
    if (task.n === subject()) {
      button.classList.add("here");
      button.setAttribute("aria-current", "true");
    }
    button.setAttribute("aria-pressed", String(task.n === pinned));
    button.title = task.name;
    button.onclick = () => { pin(pinned === task.n ? null : task.n); $("tree").querySelector(".here")?.focus(); };
    return button;
  }

  function drawTask(state) {
    const task = state.tasks.get(subject());
    if (!task) return $("task").replaceChildren(make("p", "hint", "No task: this is a step of the server, or the task is gone."));
    const facts = make("dl", "");
    const fact = (name, text, kind = "") => text && facts.append(make("dt", "", name), make("dd", kind, text));
    fact("State", `${STATES[task.kind]}, since ${seconds(task.time)}`);
    const place = run.place(task.stack);
    if (task.kind === "w" && place) fact("Waits for", place.waits);
    if (task.kind === "w" && task.deadline >= 0) fact("Deadline", seconds(task.deadline / 1e6));
    if (task.cancel) fact("Cancelled", `${run.why(task.cancel, state)} (at ${seconds(task.cancel.time)})`, "bad");
    fact("Error", task.error, "bad");
    fact("In", task.nursery ? run.where(task.nursery, state) : "the trio run");
    const origin = run.line(task.origin);
    const by = task.by > 0 ? `by ${run.who(task.by, state)}` : "";
    fact("Started", [by, origin && `${origin.file.name} line ${origin.line}`].filter(Boolean).join(", "));
    const line = run.line(task.stack) || origin;
    $("task").replaceChildren(
      make("h2", "", `Task ${task.n}: ${task.name}`), facts,
      ...(line ? [source(line, CAPTIONS[run.line(task.stack) ? task.kind : "s"])] : []), ...(place ? [stackOf(place)] : []),
    );
  }

  const lineOf = (file, line) => (file.text ? file.text[line - 1] : file.lines[line]) ?? "";

  // How the line that is shown belongs to the task.
  const CAPTIONS = {
    s: "started at", r: "goes on from", k: "goes on from", c: "will go on from", p: "goes on from", w: "waits at",
    e: "was last at", g: "was last at", f: "raised at",
  };

  function source({ file, line, name }, caption) {
    const first = file.text ? Math.max(1, line - 5) : line, last = file.text ? Math.min(file.text.length, line + 4) : line;
    const code = make("pre", "");
    code.tabIndex = 0;
    code.setAttribute("aria-label", `${file.name}, line ${line}`);
    for (let n = first; n <= last; n++) {
      const row = make("span", n === line ? "line now" : "line", `${n === line ? "▶" : " "}${String(n).padStart(5)}  ${lineOf(file, n)}\n`);
      code.append(row);
    }
    return make("figure", "", make("figcaption", "", `${caption} ${file.name}, line ${line}, in ${name}`), code);
  }

  function stackOf(place) {
    const frames = place.frames.map(({ file, line, name }, i) =>
      make("li", i === place.at ? "now" : file.own ? "own" : "", `${name}, ${file.name} line ${line}`, make("code", "", lineOf(file, line).trim())));
    const opened = $("task").querySelector("details")?.open;
    const shown = make("details", "", make("summary", "", `All ${frames.length} frames`), make("ol", "", ...frames));
    shown.open = Boolean(opened);
    return shown;
  }

  // The timeline beside: a line at the time of the step, and a click goes to the step of that time.

  const svg = $("timeline")?.querySelector("svg");
  let cursor = null;
  if (svg) {
    cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", 0);
    cursor.setAttribute("y2", svg.viewBox.baseVal.height);
    svg.append(cursor);
    svg.addEventListener("click", (click) => {
      const box = svg.getBoundingClientRect(), { left, right, width } = scale();
      const x = ((click.clientX - box.left) / box.width) * width;
      const time = ((x - left) / (width - left - right)) * Number(svg.dataset.span);
      const after = steps.findIndex((number) => run.times[number] > time);
      go(after < 0 ? steps.length - 1 : after - 1);
    });
  }

  function scale() {
    return { left: Number(svg.dataset.gutter), right: Number(svg.dataset.right), width: svg.viewBox.baseVal.width };
  }

  function moveCursor(time) {
    if (!cursor) return;
    const { left, right, width } = scale();
    const x = left + (time / Number(svg.dataset.span)) * (width - left - right);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const pane = $("timeline"), seen = (x / width) * svg.getBoundingClientRect().width;
    if (pane.scrollWidth > pane.clientWidth) pane.scrollLeft = seen - pane.clientWidth / 2;
  }

  // Keys

  function select(direction) {
    const now = order.indexOf(subject());
    const next = order[Math.min(Math.max(now + direction, 0), order.length - 1)];
    if (next !== undefined) pin(next);
    $("tree").querySelector(".here")?.scrollIntoView({ block: "nearest" });
  }

  const keys = {
    ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(steps.length - 1),
    PageDown: () => go(at + Math.ceil(steps.length / 20)), PageUp: () => go(at - Math.ceil(steps.length / 20)),
    ArrowDown: () => select(1), ArrowUp: () => select(-1), Escape: () => pin(null),
    n: () => seek(1), p: () => seek(-1), " ": play,
  };
  document.addEventListener("keydown", (press) => {
    if (press.ctrlKey || press.altKey || press.metaKey || !keys[press.key]) return;
    const target = press.target;
    if (target.matches("select, input[type=number]") && press.key !== "Escape") return;
    if (press.key === " " && target.matches("button, summary, input")) return; // it presses that one
    keys[press.key]();
    press.preventDefault();
  });

  const buttons = { first: keys.Home, back: keys.ArrowLeft, play, next: keys.ArrowRight, last: keys.End, before: keys.p, after: keys.n };
  for (const [id, does] of Object.entries(buttons)) $(id).onclick = does;
  $("slider").oninput = () => go(Number($("slider").value));
  $("level").onchange = filter;
  $("only").onchange = filter;

  // Each step has an address that can be shared; but not within another page, as in a notebook.
  const asked = () => Number(/^#step-(\d+)$/.exec(location.hash)?.[1] ?? 1) - 1;
  addEventListener("hashchange", () => go(asked()));

  steps = run.steps($("level").value, null);
  $("slider").max = Math.max(steps.length - 1, 0);
  choose(asked());
})();
