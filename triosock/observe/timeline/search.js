"use strict";
// Search: which bars are of a peer, ended for a cause, lasted so long. What is not found is drawn faintly, and
// what is found is listed. `goTo` goes to a bar, and is the page's.
function searchBars(bars, goTo) {
  const MOST = 200; // of the list; more would not be read
  const $ = (id) => document.getElementById(id);
  const all = bars.map((bar, index) => {
    const { start, end } = { start: Number(bar.dataset.s), end: Number(bar.querySelector(".hit").dataset.e) };
    return { bar, index, peer: bar.dataset.p.toLowerCase(), cause: bar.dataset.c, took: end - start };
  });

  for (const cause of [...new Set(all.map((one) => one.cause))].sort()) {
    const option = document.createElement("option");
    option.value = cause;
    option.textContent = `${cause} (${all.filter((one) => one.cause === cause).length})`;
    $("cause").append(option);
  }

  // Seconds, or a number with a unit: "1.5", "200 ms", "2 min". Nothing for no bound.
  function seconds(text, none) {
    const found = /^\s*([\d.]+)\s*(ms|s|min|h)?\s*$/.exec(text);
    if (!found) return none;
    return Number(found[1]) * { ms: 1e-3, s: 1, min: 60, h: 3600 }[found[2] ?? "s"];
  }

  const time = (took) => (took < 1 ? `${(took * 1e3).toPrecision(3)} ms` : `${took.toPrecision(3)} s`);

  function item(one) {
    const button = document.createElement("button");
    button.textContent = `${one.bar.dataset.n}  ${one.bar.dataset.p}  ${one.cause}  ${time(one.took)}`;
    button.onclick = () => goTo(one.index);
    const row = document.createElement("li");
    row.append(button);
    return row;
  }

  function search() {
    const words = $("peer").value.toLowerCase().split(/\s+/).filter(Boolean);
    const least = seconds($("least").value, 0), most = seconds($("most").value, Infinity), cause = $("cause").value;
    const asked = words.length || cause || least > 0 || most < Infinity;
    const found = all.filter((one) => words.every((word) => one.peer.includes(word)) &&
      (!cause || one.cause === cause) && one.took >= least && one.took <= most);
    const hits = new Set(found.map((one) => one.bar));
    for (const { bar } of all) bar.classList.toggle("other", asked && !hits.has(bar));
    const more = found.length > MOST ? `; the first ${MOST} are listed` : "";
    $("hits").textContent = asked ? `${found.length} of ${all.length}${more}` : `${all.length} in all`;
    $("results").replaceChildren(...(asked ? found.slice(0, MOST).map(item) : []));
  }

  $("search").addEventListener("input", search);
  $("search").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("reset", () => setTimeout(search));
  search();
}
