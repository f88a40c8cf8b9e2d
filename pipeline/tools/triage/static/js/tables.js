// Sensors, models, replays, audit: plain tables of what the server knows, and plain words where it knows nothing.

import { get } from "./api.js";
import { clean, h, own, put } from "./dom.js";
import { againstCurrent, agesSay, alertsADay, drifts, idle, lag, late, loss, problems, rejects, stages, unknown, unusual } from "./figures.js";
import { count, duration, iso, moment } from "./words.js";

const at = (us) => (us ? h("time", { datetime: iso(us), title: `${iso(us)} (UTC)` }, moment(us)) : "");
const number = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? count(value) : String(value));
const PHASES = { learning: "warn", settling: "warn", anchored: "good", changed: "bad" };

/** Of a field's name, words: `last_us` -> `last`. */
const words = (name) => name.replace(/_(us|s|bytes)$/, "").replaceAll("_", " ");

function plain(name, value) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") {
    if (name.endsWith("_us")) return value > 1e14 ? at(value) : duration(value);
    return name.endsWith("_s") ? duration(value * 1e6) : number(value);
  }
  if (Array.isArray(value)) return own(value.map((each) => (typeof each === "object" ? JSON.stringify(each) : each)).join(", "));
  return own(typeof value === "object" ? JSON.stringify(value) : value);
}

/** A table of `rows` under `columns`: `[title, cell(row), class?]`; a column that no row fills is left out. */
export function table(columns, rows, says) {
  const cells = rows.map((row) => columns.map(([, cell]) => cell(row)));
  const isEmpty = (value) => value === "" || value === null || value === undefined || (Array.isArray(value) && !value.length);
  const filled = columns.map((_, at_) => at_ === 0 || cells.some((row) => !isEmpty(row[at_])));
  const head = columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title)).filter((_, at_) => filled[at_]);
  const body = cells.map((row) =>
    h("tr", null, row.map((cell, at_) => h("td", { class: columns[at_][2], "data-title": columns[at_][0] }, cell)).filter((_, at_) => filled[at_])),
  );
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": says },
    h("table", { class: "stack" }, h("thead", null, h("tr", null, head)), h("tbody", null, body)),
  );
}

/** The rest of what is known of each row, for whoever wants all. */
function everything(rows, name) {
  return h(
    "details",
    { class: "raw" },
    h("summary", null, "All that is known"),
    rows.map((row) =>
      h(
        "section",
        { class: "card" },
        h("h2", null, own(name(row))),
        h("dl", { class: "facts" }, Object.entries(row).map(([field, value]) => h("div", null, h("dt", null, words(field)), h("dd", null, plain(field, value) || "–")))),
      ),
    ),
  );
}

const EVERY_MS = 30_000;
const SOON_MS = 2_000;

/** A screen of one table. `live`: what it shows is read by the server's clock, so it is asked for again while nobody is in it. */
function screen(name, { title, says, path, columns, rowName, none, above = () => null, below = () => null, live = false }) {
  return async (box, { query }) => {
    put(box, h("header", null, h("h1", null, title), h("p", null, says)), h("p", { class: "muted", role: "status" }, "Loading …"));
    const head = box.firstChild;
    let timer = null;
    let isLeft = false;
    const draw = (answer) => {
      const rows = answer[name] ?? [];
      const note = answer.says ?? answer.note ?? answer.problem;
      const wasOpen = box.querySelector("details.raw")?.open;
      const body = rows.length
        ? [h("div", { class: "card" }, table(columns, rows, title)), below(answer, rows), everything(rows, rowName)]
        : h("div", { class: "empty" }, h("strong", null, none[0]), h("p", null, none[1]));
      put(box, head, note && h("p", { class: "notice warn" }, own(note)), answer.at_us && h("p", { class: "muted" }, "As of ", at(answer.at_us), live && agesSay(answer)), above(answer), body);
      if (wasOpen) box.querySelector("details.raw")?.setAttribute("open", "");
    };
    const load = async () => {
      try {
        const answer = await get(path, Object.fromEntries(query));
        if (isLeft) return;
        draw(answer);
        if (live) timer = setTimeout(again, answer.reading ? SOON_MS : EVERY_MS);
      } catch (error) {
        if (isLeft || error.status === 401) return;
        put(box, head, h("p", { class: "notice bad", role: "alert" }, own(error.says)));
        if (live) timer = setTimeout(again, EVERY_MS);
      }
    };
    const isRead = () => document.hidden || box.contains(document.activeElement) || (getSelection()?.toString() ?? "") !== "";
    const again = () => {
      if (isRead()) timer = setTimeout(again, EVERY_MS);
      else load();
    };
    await load();
    return () => {
      isLeft = true;
      clearTimeout(timer);
    };
  };
}

const remarks = (row) =>
  (row.remarks ?? []).map((remark) => h("p", null, own(remark.what ?? remark), remark.remedy && h("span", { class: "muted" }, " · ", own(remark.remedy))));
const chip = (value, kind) => value && h("span", { class: `chip ${kind ?? ""}` }, own(value));
const some = (...names) => (row) => {
  const name = names.find((each) => row[each] !== undefined && row[each] !== null);
  return name === undefined ? "" : plain(name, row[name]);
};
const incidentsOf = (row) => (row.incidents ? h("a", { href: `#/incidents?view=all&site=${encodeURIComponent(row.site)}&sensor=${encodeURIComponent(row.sensor)}` }, number(row.incidents)) : number(row.incidents));
const origins = (row) => (row.calibrated ?? []).map((each) => (each === "*" ? "any site, pooled" : each)).join(", ");
const of = (part, whole) => (row) => (row[part] === undefined ? "" : row[whole] === undefined ? number(row[part]) : `${number(row[part])} of ${number(row[whole])}`);

export const SCREENS = {
  sensors: screen("sensors", {
    title: "Sensors",
    says: "What each sensor has learnt, whether it still sends, and what becomes of what it sends. A sensor is listed once a flow was scored that ended a minute or more after its first.",
    path: "sensors",
    live: true,
    above: problems,
    below: (answer, rows) => [stages(answer, table), unknown(rows, answer.stages ?? [])],
    rowName: (row) => `${row.site}/${row.sensor}`,
    none: ["No sensor has sent anything yet.", "Or the page has no broker to ask: what it shows then comes from files of alerts alone."],
    columns: [
      ["Sensor", (row) => own(`${clean(row.site)}/${clean(row.sensor)}`)],
      ["Phase", (row) => (row.phase ? chip(row.phase, PHASES[row.phase]) : h("span", { class: "muted" }, "not known: only alerts name it"))],
      ["Since", some("since_us")],
      ["Silent for", idle],
      ["Lag", lag],
      ["Late", late, "number"],
      ["Rejects", rejects],
      ["Loss before Kafka", loss],
      ["Unusual", unusual, "number"],
      ["Flows", some("flows"), "number"],
      ["Usual kinds", of("usual_kinds", "kinds"), "number"],
      ["Usual relations", of("usual_relations", "relations"), "number"],
      ["Incidents", incidentsOf, "number"],
      ["To do", remarks],
    ],
  }),
  models: screen("models", {
    title: "Models",
    says: "The models that the registry holds, which one scores, how far what it scores has drifted, and how the last candidate compared with it.",
    path: "models",
    live: true,
    above: problems,
    rowName: (row) => String(row.model ?? row.id ?? "model"),
    none: ["No model is known.", "The registry has none; `forebay model list` shows where it looked."],
    columns: [
      ["Model", (row) => own(row.model ?? row.id, { class: "mono" })],
      ["Scores now", (row) => row.current && chip("yes", "good")],
      ["From", some("parent")],
      ["Place", some("place")],
      ["Last incident", some("last_us")],
      ["Calibrated for", (row) => own(origins(row))],
      ["Incidents", some("incidents"), "number"],
      ["Alerts a day", alertsADay, "number"],
      ["Drift", drifts],
      ["Against the one in use", againstCurrent],
    ],
    below: (answer) => answer.no_comparison && h("p", { class: "muted" }, "Against the one in use: not known of any model; ", own(answer.no_comparison), ". Candidates are compared on labelled samples; none runs beside the model in use on live traffic."),
  }),
  replays: screen("replays", {
    title: "Replays",
    says: "What was scored again from the archive, and how it differs from before. `forebay replay run` makes one.",
    path: "replays",
    rowName: (row) => String(row.name ?? row.id ?? "replay"),
    none: ["No replay was run.", "`forebay replay run` scores what the archive holds with another model, or the same one, and compares."],
    columns: [
      ["Replay", some("name", "id")],
      ["At", some("at_us", "made_us", "started_us")],
      ["Site", some("site")],
      ["Model", some("model")],
      ["State", some("state")],
      ["Flows", some("flows", "records"), "number"],
      ["Same", some("same"), "number"],
      ["Changed", some("changed"), "number"],
      ["Gained", some("gained"), "number"],
      ["Lost", some("lost"), "number"],
      ["Says", some("says")],
    ],
  }),
  audit: screen("audit", {
    title: "Audit",
    says: "Who did what on this page, newest first.",
    path: "audit",
    rowName: (row) => `${row.user ?? row.by ?? ""} ${row.action ?? row.what ?? ""}`,
    none: ["Nobody has done anything yet.", "Sign-ins, verdicts and undone verdicts are listed here."],
    columns: [
      ["At", some("at_us")],
      ["Who", some("user", "by", "name")],
      ["From", some("origin", "address")],
      ["What", some("action", "what")],
      ["Of", some("subject", "target", "of", "detail")],
      ["Result", some("result")],
    ],
  }),
};
