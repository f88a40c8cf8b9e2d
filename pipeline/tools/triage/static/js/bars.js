// What is new: what was observed, against what this sensor sees usually.

import { clean, h, own, s } from "./dom.js";

const WIDTH = 1000;
const LOG_FROM = 30; // So many times the usual range, and a line would hide it: the scale is a logarithm's.

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** `[observed, usual]` as the reason's sentence has them, which knows their units. */
function saidOf(reason) {
  const after = reason.says?.startsWith(`${reason.label}: `) ? reason.says.slice(reason.label.length + 2) : null;
  const at = after?.indexOf(", usually ") ?? -1;
  return at < 0 ? [null, null] : [after.slice(0, at), after.slice(at + ", usually ".length)];
}

/** Positions 0..WIDTH of values, on one scale. */
function scale(values, low, high) {
  const [least, most] = [Math.min(0, ...values), Math.max(...values)];
  const spread = Math.max(high - low, Math.abs(high), 1e-12);
  const log = least >= 0 && most > LOG_FROM * spread;
  const step = (value) => (log ? Math.log1p(Math.max(0, value) / spread) : value - least);
  const top = step(most) || 1;
  return { log, x: (value) => 8 + (WIDTH - 16) * Math.min(1, Math.max(0, step(value) / top)) };
}

function bar(reason, says) {
  const { usual_low: low, usual_high: high, observed_median: observed, observed_extreme: extreme } = reason;
  const furthest = isNumber(extreme) ? extreme : observed;
  const { x, log } = scale([low, high, observed, furthest], low, high);
  const [left, right] = [x(low), Math.max(x(high), x(low) + 8)];
  const [from, to] = [Math.min(x(observed), x(furthest)), Math.max(x(observed), x(furthest))];
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} 22`, class: "bar-svg", role: "img", "aria-label": says, preserveAspectRatio: "none" },
    s("title", null, log ? `${says} (logarithmic scale)` : says),
    s("rect", { x: 0, y: 9, width: WIDTH, height: 4, class: "track" }),
    s("rect", { x: left, y: 4, width: right - left, height: 14, class: "usual" }),
    to - from > 8 && s("rect", { x: from, y: 9, width: to - from, height: 4, class: "reach" }),
    s("rect", { x: x(observed) - 4, y: 2, width: 8, height: 18, class: "observed" }),
  );
}

function shareSays(reason, flows) {
  if (!isNumber(reason.share)) return null;
  const of = Math.round(reason.share * flows);
  if (flows > 0 && Math.abs(of - reason.share * flows) < 0.01) return `${of.toLocaleString("en-GB")} of ${flows.toLocaleString("en-GB")} flows`;
  return `${Math.round(reason.share * 100)} % of the flows`;
}

/** Whether there are numbers of what was observed and of what is usual. */
export const hasBar = (reason) => ["usual_low", "usual_high", "observed_median"].every((name) => isNumber(reason[name]));

/** One reason: a bar where there are numbers of both, else the sentence. */
export function reasonItem(reason, flows) {
  const says = clean(reason.says ?? reason.label);
  const [observed, usual] = saidOf(reason);
  const share = says.includes("of its flows") ? null : shareSays(reason, flows);
  if (!hasBar(reason)) return h("li", { class: "reason" }, h("p", { class: "label" }, own(says)), share && h("p", { class: "muted" }, share));
  return h(
    "li",
    { class: "reason" },
    h("p", { class: "label" }, own(observed === null ? says : reason.label), share && h("span", { class: "muted" }, ` · unusual in ${share}`)),
    bar(reason, says),
    observed !== null && h("p", { class: "values" }, h("span", { class: "seen" }, "observed ", own(observed)), h("span", { class: "was" }, "usual ", own(usual))),
  );
}
