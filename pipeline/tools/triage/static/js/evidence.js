// Why it is an incident: what is new, who talked to whom, when, techniques, witnesses, similar ones.

import { hasBar, reasonItem } from "./bars.js";
import { clean, h, own } from "./dom.js";
import { talksGraph } from "./graph.js";
import { severityChip } from "./rows.js";
import { count, duration, iso, many, moment, until, verdictSays } from "./words.js";

const FIRST_ROWS = 12;
const MAX_WITNESSES = 10;

function section(title, ...content) {
  const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { "aria-labelledby": id, class: id }, h("h2", { id }, title), content);
}

/** All sections of an incident's answer that have something to say, `room` pixels wide. */
export function sections(answer, room) {
  const { incident } = answer;
  const alerts = answer.alerts ?? [];
  return [
    h("div", { class: "left" }, novelty(alerts, incident), talksSection(alerts, incident, room)),
    h("div", { class: "right" }, timeline(answer.timeline ?? []), techniques(incident, alerts), witnesses(incident), similar(answer.similar ?? [])),
    raw(alerts, incident.uid),
  ];
}

function novelty(alerts, incident) {
  if (incident.notice === "lone") return loneFlows(alerts.flatMap((alert) => alert.unmapped?.notice?.flows ?? []), incident.flows);
  if (incident.kind === "notice") {
    const lines = alerts.flatMap((alert) => alert.unmapped?.notice?.lines ?? []);
    return lines.length ? section("What it says", h("ul", { class: "reasons" }, lines.map((line) => h("li", { class: "reason" }, own(line))))) : null;
  }
  const told = alerts.filter((alert) => alert.unmapped?.reasons?.length);
  if (!told.length) {
    return section("What is new", h("p", { class: "muted" }, "No reason can be given: what is usual at this sensor is not known to the model."));
  }
  const list = (alert) => h("ul", { class: "reasons" }, alert.unmapped.reasons.map((reason) => reasonItem(reason, alert.count)));
  const [first, ...others] = told;
  const bars = told.some((alert) => alert.unmapped.reasons.some(hasBar));
  return section(
    "What is new",
    bars && h("p", { class: "legend", "aria-hidden": "true" }, h("span", { class: "key usual" }), "usual at this sensor ", h("span", { class: "key observed" }), "observed ", h("span", { class: "key reach" }), "furthest"),
    others.length > 0 && h("h3", null, "At sensor ", own(first.unmapped.sensor)),
    list(first),
    others.slice(0, MAX_WITNESSES).map((alert) =>
      h("details", { class: "more-reasons", "data-of": alert.unmapped.sensor }, h("summary", null, `${many(alert.unmapped.reasons.length, "reason")} at sensor `, own(alert.unmapped.sensor)), list(alert)),
    ),
  );
}

const nameOf = (endpoint) => endpoint?.ip ?? endpoint?.mac ?? endpoint?.name ?? endpoint?.hostname ?? "?";

function service(evidence) {
  const { protocol_name: protocol, protocol_num: number } = evidence.connection_info ?? {};
  const port = evidence.dst_endpoint?.port;
  const word = evidence.dst_endpoint?.svc_name;
  const at = [protocol ?? (number === undefined ? null : `IP ${number}`), port].filter((each) => each !== null && each !== undefined).join("/");
  return [word, at && (word ? `(${at})` : at)].filter(Boolean).join(" ") || "Ethernet";
}

/** Talks of all witnesses, one row each pair and service; sensors that saw it are named together. */
function talksOf(alerts) {
  const found = new Map();
  for (const alert of alerts) {
    for (const evidence of alert.evidences ?? []) {
      const [from, to, by] = [nameOf(evidence.src_endpoint), nameOf(evidence.dst_endpoint), service(evidence)];
      const key = JSON.stringify([from, to, by]);
      const talk = found.get(key) ?? { from, to, by, flows: 0, sensors: new Set(), community: new Set() };
      talk.flows = Math.max(talk.flows, evidence.data?.flows ?? 1); // Two witnesses of one flow count it once.
      talk.sensors.add(alert.unmapped?.sensor);
      if (evidence.connection_info?.community_uid) talk.community.add(evidence.connection_info.community_uid);
      found.set(key, talk);
    }
  }
  return [...found.values()].sort((a, b) => b.flows - a.flows);
}

/** Suspects in no incident, a row each. */
function loneFlows(flows, all) {
  const row = (flow) =>
    h(
      "tr",
      null,
      h("td", null, h("time", { datetime: iso(flow.at_us), title: `${iso(flow.at_us)} (UTC)` }, moment(flow.at_us))),
      h("td", null, own(flow.says)),
      h("td", null, own(flow.reason || flow.name)),
      h("td", { class: "number" }, Number(flow.p_value).toPrecision(2)),
      h("td", { class: "number" }, Number(flow.score).toFixed(3)),
    );
  return section(
    "Suspects in no incident",
    all > flows.length && h("p", { class: "muted" }, `The first ${count(flows.length)} of ${count(all)} are listed.`),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of suspects in no incident" },
      h("table", null, head("When", "What", "Why", ["p", "number"], ["Score", "number"]), h("tbody", null, flows.map(row))),
    ),
  );
}

function talksSection(alerts, incident, room) {
  if (incident.notice === "lone") return null; // Its flows are listed one by one.
  const talks = talksOf(alerts);
  if (!talks.length) return null;
  const known = new Map((incident.assets ?? []).map((asset) => [asset.address, asset]));
  const labels = (name) => {
    const asset = known.get(name);
    if (!asset) return [name, null];
    return asset.name ? [asset.name, [name, asset.role].filter(Boolean).join(", ")] : [name, asset.role];
  };
  const pairs = new Map();
  for (const talk of talks) {
    const key = JSON.stringify([talk.from, talk.to]);
    pairs.set(key, { ...talk, flows: (pairs.get(key)?.flows ?? 0) + talk.flows });
  }
  const row = (talk) =>
    h(
      "tr",
      null,
      h("td", null, own(talk.from, { class: "mono" })),
      h("td", null, own(talk.to, { class: "mono" })),
      h("td", null, own(talk.by)),
      h("td", { class: "number" }, count(talk.flows)),
      h("td", { class: "muted" }, own([...talk.sensors].filter(Boolean).join(", "))),
    );
  const left = Math.max(0, ...alerts.map((alert) => (alert.count ?? 0) - (alert.evidences ?? []).reduce((sum, each) => sum + (each.data?.flows ?? 1), 0)));
  const note = left > 0 ? `The pairs with most flows are listed; ${many(left, "further flow")} ${left === 1 ? "is" : "are"} of other pairs.` : null;
  return section(
    "Who talked to whom",
    h("figure", null, talksGraph([...pairs.values()], labels, room)),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of talks" },
      h("table", null, head("From", "To", "By", ["Flows", "number"], "Seen by"), h("tbody", null, talks.slice(0, FIRST_ROWS).map(row))),
    ),
    note && h("p", { class: "muted" }, note),
  );
}

function head(...titles) {
  return h("thead", null, h("tr", null, titles.map((title) => (Array.isArray(title) ? h("th", { scope: "col", class: title[1] }, title[0]) : h("th", { scope: "col" }, title)))));
}

function timeline(entries) {
  if (!entries.length) return null;
  const ordered = [...entries].sort((a, b) => a.at_us - b.at_us);
  return section(
    "Timeline",
    h(
      "ol",
      { class: "timeline" },
      ordered.map((entry, at) =>
        h("li", null, h("time", { datetime: iso(entry.at_us) }, at ? until(ordered[at - 1].at_us, entry.at_us) : moment(entry.at_us)), h("span", null, own(entry.what), entry.by && [" by ", own(entry.by)])),
      ),
    ),
  );
}

function techniques(incident, alerts) {
  const found = new Map((incident.techniques ?? []).map((each) => [each.uid, each]));
  for (const alert of alerts) for (const each of alert.unmapped?.techniques ?? []) found.set(each.uid, { ...found.get(each.uid), ...each });
  if (!found.size) return null;
  return section(
    "Candidate techniques",
    h(
      "ul",
      { class: "plain" },
      [...found.values()].map((each) => h("li", null, own(each.uid, { class: "mono" }), " ", own(each.name), each.confidence && h("span", { class: "muted" }, ` · ${each.confidence} confidence`))),
    ),
    h("p", { class: "muted" }, "ATT&CK for ICS. Candidates by the kind of incident; flows alone prove none."),
  );
}

function witnesses(incident) {
  const members = (incident.members ?? []).slice(0, MAX_WITNESSES);
  if (members.length < 2) return null;
  return section(
    "Witnesses",
    h("p", { class: "muted" }, `${many((incident.members ?? []).length, "alert")} of ${many((incident.sensors ?? []).length, "sensor")} ${incident.members.length === 1 ? "is" : "are"} this one incident.`),
    h(
      "ul",
      { class: "plain" },
      members.map((member) =>
        h(
          "li",
          { class: "witness" },
          h("p", null, h("strong", null, own(member.sensor)), h("span", { class: "muted" }, ` · ${many(member.flows, "flow")} · ${moment(member.first_us)} · ${duration(member.last_us - member.first_us)}`)),
          h("p", null, own(member.says || member.title)),
        ),
      ),
    ),
  );
}

function similar(incidents) {
  const body = incidents.length
    ? h(
        "ul",
        { class: "plain" },
        incidents.map((each) =>
          h(
            "li",
            { class: "witness" },
            h("p", null, severityChip(each), " ", h("span", { class: "muted" }, moment(each.last_us)), " ", each.verdict ? h("span", { class: "chip good" }, verdictSays(each.verdict.verdict)) : h("span", { class: "muted" }, "no verdict")),
            h("p", null, h("a", { href: `#/incidents/${encodeURIComponent(each.uid)}` }, own(each.title || each.says))),
            each.verdict?.note && h("p", { class: "muted" }, "“", own(each.verdict.note), "” ", own(each.verdict.by)),
          ),
        ),
      )
    : h("p", { class: "muted" }, "None like it so far.");
  return section("Similar incidents", body);
}

function raw(alerts, uid) {
  if (!alerts.length) return null;
  const text = h("pre", { class: "mono", tabindex: 0, role: "region", "aria-label": "OCSF events" });
  const details = h("details", { class: "raw" }, h("summary", null, `As OCSF 2004: ${many(alerts.length, "event")}, uid `, own(uid, { class: "mono" })), text);
  details.addEventListener("toggle", () => details.open && !text.firstChild && text.append(document.createTextNode(safeJson(alerts))), { once: true });
  return details;
}

// JSON leaves hidden characters as they are.
const safeJson = (value) => clean(JSON.stringify(value, null, 1));
