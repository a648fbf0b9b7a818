"use strict";
// The run as values: the tasks at each step, and the text of each step. Nothing here uses the document.
// The arrays are those of packing.py; a state is never changed, so that a step back shows what the step forward did.

const KEYFRAME = 300, MOST_ENDED = 40;
const LEVELS = { all: "spkcmoqefgwv", main: "skcmoqefgwv", ends: "scmefgv" };
const STATES = {
  s: "is new", r: "runs", p: "lets others run", w: "waits", k: "may go on", c: "is cancelled",
  e: "has returned", f: "has failed", g: "has ended, cancelled",
};

class Run {
  constructor(data) {
    this.data = data;
    this.times = [];
    let now = data.start;
    for (const event of data.events) this.times.push((now += event[0]) / 1e6);
    this.frames = [this.first()];
  }

  text(number) { return number < 0 || number === undefined ? "" : this.data.texts[number]; }

  first() {
    const tasks = new Map(), nurseries = new Map();
    for (const [n, name, nursery, kind, time, stack, deadline, origin, by] of this.data.tasks) {
      tasks.set(n, { n, name: this.text(name), nursery, kind, time: time / 1e6, stack, deadline, origin, by, cancel: null });
    }
    for (const [n, task] of this.data.open) nurseries.set(n, task);
    return { tasks, nurseries, ended: new Map(), kind: "" };
  }

  // The state after the event with this number; -1 is before the first.
  at(number) {
    const frame = Math.floor((number + 1) / KEYFRAME);
    while (this.frames.length <= frame) {
      this.frames.push(this.play(this.frames.length - 1, KEYFRAME));
    }
    return this.play(frame, number + 1 - frame * KEYFRAME);
  }

  play(frame, count) {
    const from = this.frames[frame];
    const state = { tasks: new Map(from.tasks), nurseries: new Map(from.nurseries), ended: new Map(from.ended) };
    for (let i = frame * KEYFRAME; i < frame * KEYFRAME + count; i++) this.apply(state, i);
    return state;
  }

  apply(state, number) {
    const [, kind, n, by = -1, stack = -1, other = -1, text = -1, deadline = -1] = this.data.events[number];
    const time = this.times[number], task = state.tasks.get(n);
    const set = (changes) => task && state.tasks.set(n, { ...task, ...changes });
    if (kind === "s") {
      state.tasks.set(n, {
        n, name: this.text(text), nursery: other, kind, time, stack: -1, deadline: -1, origin: stack, by, cancel: null,
      });
    } else if (kind === "o") state.nurseries.set(other, n);
    else if (kind === "q") this.close(state, other);
    else if (kind === "m") set({ nursery: other });
    else if (kind === "p" || kind === "w") set({ kind, time, stack, deadline, struck: false });
    else if (kind === "r" || kind === "k") set({ kind, time });
    else if (kind === "c") set({ kind, time, struck: true, cancel: { by, nursery: other, text: this.text(text), time, stack } });
    else if (kind === "e" || kind === "f" || kind === "g") {
      set({ kind, time, error: this.text(text), stack: stack >= 0 ? stack : task ? task.stack : -1 });
      if (task) this.end(state, task);
    }
  }

  // Ended tasks are shown until their nursery closes, so that they can be inspected; but only the last ones.
  end(state, task) {
    const ended = [...(state.ended.get(task.nursery) || []), task.n];
    if (ended.length > MOST_ENDED) state.tasks.delete(ended.shift());
    state.ended.set(task.nursery, ended);
  }

  close(state, nursery) {
    state.nurseries.delete(nursery);
    for (const n of state.ended.get(nursery) || []) state.tasks.delete(n);
    state.ended.delete(nursery);
  }

  // The numbers of the events that are steps, at this level of detail, of one task or of all (null).
  steps(level, task) {
    const kinds = LEVELS[level], found = [];
    this.data.events.forEach(([, kind, n, , stack], i) => {
      if (!kinds.includes(kind) || (task !== null && n !== task)) return;
      if (level === "all" || kind !== "c" || !this.isOfTrio(stack)) found.push(i);
    });
    return found;
  }

  // Whether trio itself has cancelled something as a part of another operation: of no interest in most cases.
  isOfTrio(stack) {
    const frames = this.place(stack)?.frames;
    return Boolean(frames?.length && frames[frames.length - 1].file.trio);
  }

  // Whether a cancellation concerns the program: its code is cancelled, its code cancels, or it has started the
  // task. A server that stops accepting and ends its internal tasks does not concern it.
  concerns(number) {
    const [, kind, n, , stack, , text] = this.data.events[number];
    if (kind !== "c") return true;
    if (/: triosock: drain$/.test(this.text(text))) return false;
    const task = this.at(number).tasks.get(n), asked = this.place(stack)?.frames;
    if (!task || task.origin < 0 || asked?.[asked.length - 1].file.own) return true;
    return [task.stack, task.origin].some((one) => this.place(one)?.frames.some((frame) => frame.file.own));
  }

  // The next breakpoint: the position in `steps` of an event of one of these kinds; -1 for none. With a +, and for
  // a chosen task, cancellations that do not concern the program count, too.
  find(steps, from, direction, kinds, task) {
    for (let at = from + direction; at >= 0 && at < steps.length; at += direction) {
      const [, kind, n] = this.data.events[steps[at]];
      if (!kinds.includes(kind) || (task !== null && n !== task)) continue;
      if (task !== null || kinds.includes("+") || this.concerns(steps[at])) return at;
    }
    return -1;
  }

  place(stack) {
    if (stack < 0 || stack === undefined) return null;
    const [where, waits, frames] = this.data.stacks[stack];
    return { at: where, waits: this.text(waits), frames: frames.map((frame) => this.frame(frame)) };
  }

  frame(number) {
    const [file, line, name] = this.data.frames[number];
    return { file: this.data.files[file], line, name: this.text(name) };
  }

  line(stack) {
    const place = this.place(stack);
    return place && place.at >= 0 ? place.frames[place.at] : null;
  }

  // Words

  who(n, state) {
    if (n === 0) return "a task of trio's own, or another thread";
    const task = state.tasks.get(n);
    return task ? `task ${n} (${short(task.name)})` : `task ${n}`;
  }

  where(nursery, state) {
    const owner = state.nurseries.get(nursery);
    return owner === undefined ? `nursery ${nursery}` : `nursery ${nursery}, of ${this.who(owner, state)}`;
  }

  say(number, state) {
    if (number < 0) return "Before the first step.";
    const [, kind, n, by = -1, stack = -1, other = -1, text = -1, deadline = -1] = this.data.events[number];
    const who = capital(n ? this.who(n, state) : "no task"), told = this.text(text);
    const line = this.line(stack), at = line ? `, at ${line.file.name} line ${line.line}` : "";
    switch (kind) {
      case "s":
        return `${who} is started${by > 0 ? ` by ${this.who(by, state)}` : ""}${at}` +
          `${other ? `, in ${this.where(other, state)}` : ""}.`;
      case "p": return `${who} lets others run${at}.`;
      case "w": {
        const until = deadline >= 0 ? `, until ${seconds(deadline / 1e6)} at the latest` : "";
        return `${who} waits for ${this.place(stack)?.waits || "something"}${at}${until}.`;
      }
      case "k": {
        const because = told || (by > 0 ? `${this.who(by, state)} has woken it` : "what it waited for is there");
        return `${who} may go on: ${because}.`;
      }
      case "c": return `${who} is cancelled: ${this.why({ by, nursery: other, text: told, stack }, state)}.`;
      case "m": return `${who} has said that it has started, and moves to ${this.where(other, state)}.`;
      case "o": return `${who} opens nursery ${other}.`;
      case "q": return `Nursery ${other} of ${this.who(n, state)} is closed: nothing is left in it.`;
      case "e": return `${who} has returned.`;
      case "f": return `${who} has failed: ${told}${at}.`;
      case "g": return `${who} has ended, because it was cancelled.`;
      default: return n ? `${told} (in ${this.who(n, state)}).` : `${told}.`;
    }
  }

  why(cancel, state) {
    let said = cancel.text;
    if (cancel.by > 0) said += `; by ${this.who(cancel.by, state)}`;
    else if (cancel.by === 0) said += "; by a task of trio's own, or another thread";
    const line = this.line(cancel.stack);
    if (line) said += `, at ${line.file.name} line ${line.line}`;
    if (cancel.nursery > 0) said += `; with all of ${this.where(cancel.nursery, state)}`;
    return said;
  }
}

// A name without the modules and functions around it; trio's names of tasks are long.
function short(name) {
  const last = name.split("<locals>.").pop();
  if (!/^[\w.]+$/.test(last)) return last;
  const [own, owner = ""] = last.split(".").reverse();
  return /^_?[A-Z]/.test(owner) ? `${owner}.${own}` : own;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const seconds = (time) => `${time.toFixed(time < 1 ? 6 : 4).replace(/0+$/, "").replace(/\.$/, "")} s`;

if (typeof module !== "undefined") module.exports = { Run, LEVELS, STATES, short, seconds };
