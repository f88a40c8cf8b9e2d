// Few devices and who talked to whom among them, drawn: askers on the left, asked on the right.

import { clean, s } from "./dom.js";
import { many } from "./words.js";

const MAX_NODES = 9;
const ROW = 46;
const WIDEST = 640;
const LETTER = 7.2;

const short = (text, most) => {
  const length = Math.max(6, Math.floor(most));
  const letters = [...clean(text)];
  return letters.length > length ? `${letters.slice(0, length - 1).join("")}…` : letters.join("");
};

function column(names) {
  const shown = names.slice(0, MAX_NODES);
  return { shown, left: names.length - shown.length };
}

function node(name, at, x, box, labels) {
  const [first, second] = labels(name);
  return s(
    "g",
    { class: "node", transform: `translate(${x} ${at * ROW + 8})` },
    s("title", null, [name, second].filter(Boolean).join(", ")),
    s("rect", { width: box, height: ROW - 12, rx: 6 }),
    s("text", { x: 10, y: second ? 15 : 21, direction: "ltr", "unicode-bidi": "isolate-override" }, short(first, (box - 14) / LETTER)),
    second && s("text", { x: 10, y: 28, class: "second", direction: "ltr" }, short(second, (box - 14) / 5.8)),
  );
}

/** An SVG of talks `[{from, to, flows}]`, so many pixels wide; `labels(name)` gives a node's two lines. */
export function talksGraph(talks, labels, room) {
  const width = Math.max(300, Math.min(WIDEST, room));
  const box = Math.min(210, Math.round(width * 0.37));
  const weight = new Map();
  for (const talk of talks) {
    for (const [side, name] of [["from", talk.from], ["to", talk.to]]) {
      const key = `${side} ${name}`;
      weight.set(key, (weight.get(key) ?? 0) + talk.flows);
    }
  }
  const sorted = (side) => [...new Set(talks.map((talk) => talk[side]))].sort((a, b) => weight.get(`${side} ${b}`) - weight.get(`${side} ${a}`));
  const [left, right] = [column(sorted("from")), column(sorted("to"))];
  const rows = Math.max(left.shown.length, right.shown.length);
  const most = Math.max(1, ...talks.map((talk) => talk.flows));
  const offset = (side) => ((rows - side.shown.length) * ROW) / 2;
  const lines = talks.flatMap((talk) => {
    const [from, to] = [left.shown.indexOf(talk.from), right.shown.indexOf(talk.to)];
    if (from < 0 || to < 0) return [];
    const y1 = offset(left) + from * ROW + 8 + (ROW - 12) / 2;
    const y2 = offset(right) + to * ROW + 8 + (ROW - 12) / 2;
    const [x1, x2] = [box, width - box];
    const thick = 1.2 + (5 * Math.log1p(talk.flows)) / Math.log1p(most);
    const path = `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
    return [s("path", { d: path, class: "talk", "stroke-width": thick.toFixed(1) }, s("title", null, `${talk.from} to ${talk.to}: ${many(talk.flows, "flow")}`))];
  });
  const more = left.left + right.left;
  const says = `${many(left.shown.length, "device")} on the left talked to ${many(right.shown.length, "device")} on the right; the table below says the same`;
  const height = rows * ROW + 8 + (more ? 20 : 0);
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "graph", role: "img", "aria-label": says },
    lines,
    s("g", { transform: `translate(0 ${offset(left)})` }, left.shown.map((name, at) => node(name, at, 0, box, labels))),
    s("g", { transform: `translate(0 ${offset(right)})` }, right.shown.map((name, at) => node(name, at, width - box, box, labels))),
    more > 0 && s("text", { x: width / 2, y: height - 6, class: "more", "text-anchor": "middle" }, `and ${many(more, "device")} more, in the table`),
  );
}
