// Map and assets of a site: drawn, and as tables that say the same.

import { get } from "./api.js";
import { clean, h, own, put } from "./dom.js";
import { siteNames } from "./incidents.js";
import { siteGraph } from "./site_graph.js";
import { table } from "./tables.js";
import { count, duration, iso, many, moment } from "./words.js";

const MAX_ROWS = 300;

const at = (us) => (us ? h("time", { datetime: iso(us), title: `${iso(us)} (UTC)` }, moment(us)) : "");
const address = (site, of) => `#/assets${of ? `/${encodeURIComponent(of)}` : ""}${site ? `?site=${encodeURIComponent(site)}` : ""}`;

export async function showAssets(box, { uid: focus, query, go }) {
  const head = h("header", null, h("h1", null, "Map and assets"), h("p", null, "Devices as the flows show them, and who asked whom. Roles are guesses, with their evidence; names and zones are the plant's own."));
  put(box, head, h("p", { class: "muted", role: "status" }, "Loading …"));
  let sites = [];
  let map = null;
  try {
    sites = siteNames(await get("sites"));
    const site = query.get("site") || sites[0];
    if (!site) return void put(box, head, nothing());
    map = await get("map", { site });
  } catch (error) {
    if (error.status === 404) put(box, head, choice(sites, query.get("site") || sites[0], go), nothing());
    else if (error.status !== 401) put(box, head, h("p", { class: "notice bad", role: "alert" }, own(error.says)));
    return null;
  }
  draw(box, head, { sites, map, focus, go, isNew: query.get("new") === "yes" });
  return null;
}

function choice(sites, site, go) {
  if (sites.length < 2) return null;
  const choose = h("select", { "aria-label": "Site", onchange: (event) => go(address(event.target.value)) }, sites.map((each) => h("option", { value: each }, each)));
  choose.value = site;
  return choose;
}

function nothing() {
  return h("div", { class: "empty" }, h("strong", null, "No device is known yet."), h("p", null, "The inventory is made from the flows in the archive, and that holds none of this site yet. `forebay asset list` says what was read."));
}

function draw(box, head, { sites, map, focus, go }) {
  const devices = map.devices ?? [];
  const edges = map.edges ?? [];
  const newEdges = edges.filter((edge) => edge.new);
  const tools = h("div", { class: "tools-line" }, choice(sites, map.site, go), h("span", { class: "muted" }, own(map.site), ` · ${many(devices.length, "device")} · ${many(edges.length, "pair")} that talk · ${many(newEdges.length, "new one")}`), focus && h("a", { href: address(map.site) }, "Show all"));
  const problem = map.problem && h("p", { class: "notice warn" }, own(map.problem));
  if (!devices.length) return put(box, head, tools, problem, nothing());
  const width = Math.max(360, Math.min(1400, box.clientWidth - 40));
  const { svg, drawn } = siteGraph(map, { focus, width, onpick: (of) => go(address(map.site, of)) });
  const left = map.left_out ?? {};
  const notes = [
    drawn < devices.length && `${count(drawn)} of ${count(devices.length)} devices are drawn; all are in the table.`,
    left.devices > 0 && `${many(left.devices, "further device")} and ${many(left.edges ?? 0, "further edge")} are left out.`,
left.unconfirmed > 0 && `Not counted as devices: ${many(left.unconfirmed, "address", "addresses")} that never answered.`,
  ].filter(Boolean);
  put(
    box,
    head,
    tools,
    problem,
    focus && detail(map, focus),
    h("div", { class: "card" }, svg, notes.map((note) => h("p", { class: "muted" }, note))),
    h("section", { class: "card", "aria-labelledby": "t-devices" }, h("h2", { id: "t-devices" }, "Devices"), devicesTable(map, devices)),
    edges.length > 0 && h("section", { class: "card", "aria-labelledby": "t-edges" }, h("h2", { id: "t-edges" }, "Who asked whom"), edgesTable(edges)),
  );
  return undefined;
}

function devicesTable(map, devices) {
  const columns = [
    ["Device", (row) => h("a", { href: address(map.site, row.address) }, own(row.name ?? row.address))],
    ["Address", (row) => (row.name ? own(row.address, { class: "mono" }) : "")],
    ["Role", (row) => (row.role && row.role !== "unknown" ? [own(row.title ?? row.role), row.confidence && h("span", { class: "muted" }, ` · ${clean(row.confidence)}`)] : "")],
    ["Zone", (row) => row.zone && own(row.zone)],
    ["Criticality", (row) => row.criticality && own(row.criticality)],
    ["Maker", (row) => (row.maker ?? row.vendor) && own(row.maker ?? row.vendor)],
    ["State", (row) => (row.state ? h("span", { class: `chip ${{ active: "good", quiet: "warn", gone: "bad" }[row.state] ?? ""}` }, own(row.state)) : "")],
    ["Last seen", (row) => at(row.last_us)],
    ["Peers", (row) => (row.peers === null || row.peers === undefined ? "" : count(row.peers)), "number"],
    ["Flows", (row) => (row.flows === null || row.flows === undefined ? "" : count(row.flows)), "number"],
  ];
  const more = devices.length > MAX_ROWS ? h("p", { class: "muted" }, `The first ${MAX_ROWS} are listed.`) : null;
  return [table(columns, devices.slice(0, MAX_ROWS), "Devices"), more];
}

const servicesSay = (edge) => (edge.services ?? []).map((each) => each.service ?? each).join(", ");

function edgesTable(edges) {
  const ordered = [...edges].sort((a, b) => Boolean(b.new) - Boolean(a.new) || (b.flows ?? 0) - (a.flows ?? 0));
  const columns = [
    ["Asked", (row) => own(row.source, { class: "mono" })],
    ["Of", (row) => own(row.target, { class: "mono" })],
    ["By", (row) => own(servicesSay(row))],
    ["New", (row) => (row.new ? h("span", { class: "chip warn" }, "new") : "")],
    ["Crosses zones", (row) => (row.crosses ? "yes" : "")],
    ["Writes", (row) => (row.writes ? count(row.writes) : ""), "number"],
    ["Flows", (row) => count(row.flows), "number"],
    ["First", (row) => at(row.first_us)],
    ["Last", (row) => at(row.last_us)],
  ];
  const more = ordered.length > MAX_ROWS ? h("p", { class: "muted" }, `New ones and those with most flows; the first ${MAX_ROWS} are listed.`) : null;
  return [table(columns, ordered.slice(0, MAX_ROWS), "Who asked whom"), more];
}

function detail(map, focus) {
  const device = map.devices.find((each) => each.address === focus);
  if (!device) return h("p", { class: "notice warn" }, "No device of this map has the address ", own(focus), ".");
  const edges = map.edges.filter((edge) => edge.source === focus || edge.target === focus);
  const facts = [
    ["Address", own(device.address, { class: "mono" })],
    ["Role", own(device.title ?? device.role ?? "not known")],
    ["Why", device.why ? own(device.why) : "–"],
    ["Zone", own(device.zone ?? "–")],
    ["Maker", own(device.maker ?? device.vendor ?? "–")],
    ["Seen", [at(device.first_us), " to ", at(device.last_us)]],
    ["Quiet for", device.idle_us ? duration(device.idle_us) : "–"],
  ];
  return h(
    "section",
    { class: "card", "aria-labelledby": "t-device" },
    h("h2", { id: "t-device" }, own(device.name ?? device.address)),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    h("p", null, h("a", { href: `#/incidents?view=all&asset=${encodeURIComponent(device.address)}` }, "Its incidents")),
    edges.length > 0 && edgesTable(edges),
  );
}
