// The zoom. What has data-s (and data-e) has times; its place across follows from the window [from, to] of the
// view, and nothing else is moved. All times are seconds.
(() => {
  const picture = document.getElementById("picture");
  const svg = picture.querySelector("svg");
  const details = document.getElementById("details");
  const span = Number(svg.dataset.span);
  const right = Number(svg.dataset.right);
  const height = svg.viewBox.baseVal.height;
  const boxes = [...svg.querySelectorAll("rect[data-s]")].map((element) =>
    ({ element, start: Number(element.dataset.s), end: Number(element.dataset.e), isOut: false }));
  const marks = [...svg.querySelectorAll("g[data-y]")].map((element) =>
    ({ element, start: Number(element.dataset.s), y: element.dataset.y, isOut: false }));
  const scroll = document.getElementById("scroll");
  // In the order of their lanes and starts; drawn they are in another one, so that bad ends lie above.
  const bars = [...svg.querySelectorAll(".band")].flatMap((band) =>
    [...band.querySelectorAll(".bar")].sort((one, other) => one.dataset.s - other.dataset.s));
  const axis = svg.querySelector(".axis");
  const clip = svg.querySelector("#plot rect");
  const axisTop = Number(axis.querySelector("line").getAttribute("y1")) + 4;
  const hint = details.innerHTML;
  let from = 0, to = span, width = 0, gutter = 0, here = -1;

  // What the titles say is shown below; a second time, as the browser's own tip, would only be in the way.
  const said = new Map();
  for (const title of svg.querySelectorAll("g title, rect title, text title")) {
    said.set(title.parentNode, title.textContent);
    title.remove();
  }
  for (const bar of bars) bar.setAttribute("aria-label", said.get(bar));

  const x = (time) => gutter + ((time - from) / (to - from)) * (width - gutter - right);
  const timeAt = (px) => from + ((px - gutter) / (width - gutter - right)) * (to - from);

  function draw() {
    for (const box of boxes) {
      const { element, start, end } = box;
      if (isAway(box, start, end, "width", "0")) continue;
      // Far outside, numbers would overflow what a renderer takes.
      const a = Math.max(x(start), -50), b = Math.min(x(end), width + 50);
      element.setAttribute("x", a.toFixed(2));
      element.setAttribute("width", Math.max(b - a, 1.5).toFixed(2));
    }
    for (const mark of marks) {
      const { element, start, y } = mark;
      if (isAway(mark, start, start, "transform", `translate(-100 ${y})`)) continue;
      const px = x(start);
      element.setAttribute("transform", `translate(${px.toFixed(2)} ${y})`);
      if (element.classList.contains("flag")) element.classList.toggle("left", px > width * 0.72);
    }
    drawAxis();
    document.getElementById("range").textContent = `${label(from)} – ${label(to)}`;
  }

  // Whether something is outside of the window; it is put away once, and then costs nothing, however many there are.
  function isAway(what, start, end, attribute, value) {
    const margin = (to - from) / 10, isOut = end < from - margin || start > to + margin;
    if (isOut && !what.isOut) what.element.setAttribute(attribute, value);
    what.isOut = isOut;
    return isOut;
  }

  function drawAxis() {
    const rough = (to - from) / Math.max(2, (width - gutter) / 95);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    let out = "";
    for (let n = Math.ceil(from / step); n * step <= to; n++) {
      const px = x(n * step).toFixed(2);
      out += `<line x1="${px}" x2="${px}" y1="${axisTop - 4}" y2="${height}"/>` +
        `<text x="${px}" y="${axisTop - 9}" text-anchor="middle">${(n * step).toFixed(digits)} s</text>`;
    }
    axis.innerHTML = out;
  }

  function label(time) {
    const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(to - from))));
    return `${time.toFixed(digits)} s`;
  }

  function measure() {
    width = picture.clientWidth;
    gutter = width < 600 ? 104 : 160;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    clip.setAttribute("x", gutter - 3);
    clip.setAttribute("width", width - gutter + 3);
    draw();
  }

  function show(a, b) {
    const least = Math.max(span * 1e-6, 1e-6);
    const size = Math.min(Math.max(b - a, least), span);
    from = Math.min(Math.max(a, 0), span - size);
    to = from + size;
    draw();
  }

  const zoom = (factor, centre) => show(centre - (centre - from) * factor, centre + (to - centre) * factor);
  const move = (share) => show(from + (to - from) * share, to + (to - from) * share);
  const middle = () => (here >= 0 ? clamp(timeOf(bars[here])) : (from + to) / 2);
  const clamp = (time) => Math.min(Math.max(time, from), to);
  const timeOf = (bar) => Number(bar.dataset.s);

  // Details

  function tell(element) {
    const texts = [];
    for (let e = element; e && e !== svg; e = e.parentNode) if (said.has(e)) texts.push(said.get(e));
    if (!texts.length) return false;
    details.replaceChildren(...texts.join("\n").split("\n").map((line) => {
      const p = document.createElement("p");
      p.textContent = line;
      if (/^(failed|drain deadline|request: its|send:|handshake: it failed|peer:)|Error/.test(line)) p.className = "bad";
      return p;
    }));
    return true;
  }

  function goTo(number) {
    if (!bars.length) return;
    if (here >= 0) bars[here].classList.remove("here");
    here = Math.min(Math.max(number, 0), bars.length - 1);
    const bar = bars[here];
    bar.classList.add("here");
    bar.focus({ preventScroll: true });
    bar.scrollIntoView({ block: "nearest" });
    const start = timeOf(bar), end = Number(bar.querySelector(".hit").dataset.e);
    if (end < from || start > to) show(start - (to - from) / 4, start + ((to - from) * 3) / 4);
    tell(bar);
  }

  picture.addEventListener("pointerover", (event) => tell(event.target));
  picture.addEventListener("click", (event) => {
    const bar = event.target.closest(".bar");
    if (bar) goTo(bars.indexOf(bar));
    tell(event.target);
  });

  // Keys

  const keys = {
    "+": () => zoom(0.5, middle()), "=": () => zoom(0.5, middle()), "-": () => zoom(2, middle()),
    "0": () => show(0, span), Home: () => show(0, span),
    ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
    ArrowDown: () => goTo(here + 1), ArrowUp: () => goTo(here - 1),
    Escape: () => { if (here >= 0) bars[here].classList.remove("here"); here = -1; details.innerHTML = hint; picture.focus(); },
  };
  picture.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  });
  document.getElementById("in").onclick = () => zoom(0.5, middle());
  document.getElementById("out").onclick = () => zoom(2, middle());
  document.getElementById("all").onclick = () => show(0, span);

  // Wheel and fingers

  picture.addEventListener("wheel", (event) => {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    // A picture higher than the window must be scrolled; there it takes Ctrl to zoom.
    if (!sideways && !event.ctrlKey && picture.clientHeight > scroll.clientHeight) return;
    event.preventDefault();
    const delta = sideways ? event.deltaX || event.deltaY : event.deltaY;
    if (sideways) move(delta / width);
    else zoom(Math.exp(Math.max(-1, Math.min(1, delta / 300))), clamp(timeAt(event.clientX - picture.getBoundingClientRect().left)));
  }, { passive: false });

  const fingers = new Map();
  picture.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event.clientX);
    picture.classList.add("moving");
  });
  addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    const left = picture.getBoundingClientRect().left;
    if (after.length === 1) {
      const seconds = ((before[0] - after[0]) / (width - gutter - right)) * (to - from);
      show(from + seconds, to + seconds);
    } else {
      const apart = (xs) => Math.max(20, Math.abs(xs[0] - xs[1]));
      zoom(apart(before) / apart(after), clamp(timeAt((after[0] + after[1]) / 2 - left)));
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) picture.classList.remove("moving");
    });
  }

  const find = document.querySelector(".find");
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select")) return;
    find.open = true;
    document.getElementById("peer").focus();
    event.preventDefault();
  });
  searchBars(bars, goTo);

  addEventListener("resize", measure);
  measure();
})();
