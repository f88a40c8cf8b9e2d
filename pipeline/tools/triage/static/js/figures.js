// What is known of stages, sensors and models at this moment. What is not known says so, and why: never 0.

import { h, own } from "./dom.js";
import { count, duration, iso, many, moment } from "./words.js";

const SENDS_US = 90e6;
const DRIFTS_PERCENT = 20;
const LABELS = {
  records: "Records",
  rejects: "Rejects",
  late: "Late",
  lag: "Lag",
  lost: "Loss before Kafka",
  unusual_percent: "Unusual",
};

const at = (us) => h("time", { datetime: iso(us), title: `${iso(us)} (UTC)` }, moment(us));
const notKnown = () => h("span", { class: "muted" }, "not known");
const chip = (text, kind) => h("span", { class: `chip ${kind}` }, text);
const isKnown = (value) => value !== undefined && value !== null;

/** Since when a sensor sends nothing. */
export function idle(row) {
  if (!isKnown(row.idle_us)) return notKnown();
  if (row.idle_is === "about") return row.idle_us < SENDS_US ? chip("sends", "good") : duration(row.idle_us);
  return `${row.idle_is === "at_least" ? "at least" : "at most"} ${duration(row.idle_us)}`;
}

export function lag(row) {
  if (!isKnown(row.lag_us)) return notKnown();
  if (!row.waits_for) return "none";
  return [duration(row.lag_us), h("span", { class: "muted" }, ` · ${many(row.messages_behind, "message")}, first for `, own(row.waits_for))];
}

export const late = (row) => (isKnown(row.late) ? count(row.late) : notKnown());

export function rejects(row) {
  if (!isKnown(row.rejects)) return notKnown();
  const reasons = Object.entries(row.reject_reasons ?? {});
  const shown = reasons.slice(0, 3).map(([reason, number]) => `${reason} ${count(number)}`);
  const more = reasons.length > 3 ? `, ${many(reasons.length - 3, "other reason")}` : "";
  return [
    `${count(row.rejects)} of ${many(row.records, "record")}`,
    shown.length > 0 && h("span", { class: "muted" }, " · ", own(shown.join(", ")), more),
  ];
}

export function loss(row) {
  if (!isKnown(row.lost_flows)) return notKnown();
  const parts = [row.lost_flows && many(row.lost_flows, "flow"), row.lost_packets && many(row.lost_packets, "packet")].filter(Boolean);
  if (!parts.length) return row.lost_exact ? "none" : "none seen";
  return `${row.lost_exact ? "" : "at most "}${parts.join(", ")}`;
}

const share = (percent) => (percent > DRIFTS_PERCENT ? chip(`${percent} %`, "warn") : `${percent} %`);

export const unusual = (row) => (isKnown(row.unusual_percent) ? share(row.unusual_percent) : notKnown());

/** Who did not answer, or whom nobody knows how to ask. */
export const problems = (answer) =>
  answer.problems?.length > 0 && h("ul", { class: "notice warn", "aria-label": "Not read" }, answer.problems.slice(0, 8).map((each) => h("li", null, own(each))));

/** When what is shown was read. */
export function agesSay(answer) {
  const read = answer.read_us ?? {};
  const names = { stages: "stages", lag: "lag", lost: "loss" };
  const ages = Object.entries(names).filter(([name]) => read[name]).map(([name, says]) => `${says} ${duration(Math.max(0, answer.at_us - read[name]))} ago`);
  const since = answer.sensors?.find((row) => row.counted_since_us)?.counted_since_us;
  return [ages.length > 0 && ` · read: ${ages.join(", ")}`, since && " · late, rejects and unusual since ", since && at(since)];
}

const COLUMNS = [
  ["Stage", (row) => own(row.stage)],
  ["State", (row) => stateOf(row)],
  ["Lag", (row) => stageLag(row)],
  ["Messages behind", (row) => isKnown(row.messages_behind) && count(row.messages_behind), "number"],
  ["Rows in", (row) => isKnown(row.rows_in) && count(row.rows_in), "number"],
  ["Rows out", (row) => isKnown(row.rows_out) && count(row.rows_out), "number"],
  ["Rejects", (row) => isKnown(row.rejected) && count(row.rejected), "number"],
  ["Errors", (row) => isKnown(row.errors) && count(row.errors), "number"],
  ["Since", (row) => row.started_us && counted(row)],
];

/** From when on its rows are counted: each worker counts since its own start. */
const counted = (row) => (row.last_started_us > row.started_us ? [at(row.started_us), " to ", at(row.last_started_us)] : at(row.started_us));

/** By what the stage says, or by what Kafka has that it has not read: whichever is more. */
function stageLag(row) {
  if (!isKnown(row.lag_us) && !isKnown(row.waits_us)) return notKnown();
  const us = Math.max(row.answers ? row.lag_us ?? 0 : 0, row.waits_us ?? 0);
  return us < 1e6 ? "none" : duration(us);
}

function stateOf(row) {
  if (!row.workers) return notKnown();
  if (!row.answers) return [chip("no answer", "bad"), " since ", at(row.answered_us)];
  if (row.ready === row.workers) return chip(row.workers === 1 ? "ready" : `${count(row.workers)} ready`, "good");
  return chip(row.workers === 1 ? "not ready" : `${count(row.ready)} of ${count(row.workers)} ready`, "warn");
}

/** The stages that what a sensor sends goes through. */
export function stages(answer, table) {
  const rows = (answer.stages ?? []).filter((row) => row.workers || isKnown(row.messages_behind));
  if (!rows.length) return null;
  return h("div", { class: "card" }, h("h2", null, "Stages"), table(COLUMNS.map(([title, cell, kind]) => [title, (row) => cell(row) || "", kind]), rows, "Stages"));
}

/** What is not known of sensors and stages, once for each reason. */
export function unknown(rows, stagesOf) {
  const reasons = new Map(stagesOf.filter((row) => row.not_known).map((row) => [row.not_known, { fields: new Set([`Stage ${row.stage}`]), rows }]));
  for (const row of rows)
    for (const [field, why] of Object.entries(row.not_known ?? {})) {
      if (!reasons.has(why)) reasons.set(why, { fields: new Set(), rows: new Set() });
      reasons.get(why).fields.add(LABELS[field] ?? field);
      if (reasons.get(why).rows !== rows) reasons.get(why).rows.add(row);
    }
  if (!reasons.size) return null;
  const says = ([why, { fields, rows: of }]) =>
    h("li", null, h("strong", null, own([...fields].join(", "))), of !== rows && of.size < rows.length && ` of ${many(of.size, "sensor")}`, ": ", own(why));
  return h("div", { class: "card" }, h("h2", null, "Not known, and why"), h("ul", null, [...reasons].map(says)));
}

export const alertsADay = (row) =>
  isKnown(row.alerts_a_day) ? count(row.alerts_a_day) : row.incidents ? h("span", { class: "muted" }, "not known: its incidents are of less than a day") : "";

/** How unusual what the model in use scores has been lately. */
export function drifts(row) {
  const drift = row.drift;
  if (!drift) return "";
  if (drift.not_known) return h("span", { class: "muted" }, "not known: ", own(drift.not_known));
  const worst = drift.worst?.[0];
  return [
    share(drift.unusual_percent),
    ` of ${many(drift.scored, "row")} unusual, ${drift.expected_percent} % expected; ${drift.suspect_percent} % suspects, since `,
    at(drift.since_us),
    worst && h("span", { class: "muted" }, " · most at ", own(`${worst.site}/${worst.sensor}`), `: ${worst.unusual_percent} %`),
  ];
}

const figure = (value, digits) => (isKnown(value) ? value.toFixed(digits) : "not known");

/** A candidate's figures beside those of the model that was in use. */
export function againstCurrent(row) {
  const found = row.comparison;
  if (!found) return "";
  const pair = (says, name, digits) => `${says} ${figure(found.of_candidate[name], digits)} (${figure(found.of_current[name], digits)})`;
  return [
    chip(found.passed ? "passed" : "refused", found.passed ? "good" : "warn"),
    ` ${pair("found", "recall", 3)}, ${pair("false", "false_rate", 4)}, ${pair("AUROC", "auroc", 3)}`,
    h("span", { class: "muted" }, ` on ${many(found.attacks, "attack")} and ${many(found.normals, "normal row")}; in brackets `, own(found.against)),
    found.reasons.length > 0 && h("ul", null, found.reasons.map((each) => h("li", null, own(each)))),
  ];
}
