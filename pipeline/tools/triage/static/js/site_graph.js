// A site drawn: bands from the outside to the process, devices in them, lines between who talks to whom.

import { clean, s } from "./dom.js";
import { many } from "./words.js";

const LEVELS = { 5: "Outside", 4: "Ways out", 3: "Servers", 2: "Operation", 1: "Control" };
const MAX_DRAWN = 72;
const [BOX, GAP, HIGH, PAD, BETWEEN] = [148, 18, 40, 26, 40];

const shortened = (text, length) => {
  const letters = [...clean(text)];
  return letters.length > length ? `${letters.slice(0, length - 1).join("")}…` : letters.join("");
};

/** Bands of devices: by the plant's zones where it has named them, else by how far a role is from the process. */
function bandsOf(map, devices) {
  const zones = (map.zones ?? []).filter((zone) => zone.zone !== null);
  const named = zones.length > 1 || (zones.length === 1 && zones[0].zone !== "outside");
  const order = named ? [...(map.zones ?? []).map((zone) => zone.zone), null] : [5, 4, 3, 2, 1, null];
  const keyOf = (device) => (named ? (device.zone ?? null) : (device.level ?? null));
  const title = (key) => (named ? (key ?? "No zone given") : (LEVELS[key] ?? "Role not known"));
  return [...new Set(order)].map((key) => ({ title: title(key), devices: devices.filter((device) => keyOf(device) === key) })).filter((band) => band.devices.length);
}

/** `{svg, drawn}`: the map as SVG, at most 72 devices; `focus` is the address whose lines stand out. */
export function siteGraph(map, { focus = null, width = 1100, onpick }) {
  const drawn = map.devices.slice().sort((a, b) => worth(b) - worth(a)).slice(0, MAX_DRAWN);
  const columns = Math.max(1, Math.floor((width - PAD) / (BOX + GAP)));
  const places = new Map();
  const bands = [];
  let y = 0;
  for (const band of bandsOf(map, drawn)) {
    const rows = Math.ceil(band.devices.length / columns);
    band.devices.forEach((device, index) => {
      const row = Math.floor(index / columns);
      const inRow = Math.min(columns, band.devices.length - row * columns);
      const left = (width - inRow * (BOX + GAP) + GAP) / 2;
      places.set(device.address, { x: left + (index % columns) * (BOX + GAP), y: y + 30 + row * (HIGH + BETWEEN), device });
    });
    const height = 30 + rows * (HIGH + BETWEEN);
    bands.push(s("g", null, s("rect", { class: "zone", x: 0.5, y: y + 0.5, width: width - 1, height, rx: 8 }), s("text", { class: "zone-name", x: 12, y: y + 18 }, shortened(band.title, 40))));
    y += height + 16;
  }
  const near = new Set(focus === null ? [] : map.edges.filter((edge) => edge.source === focus || edge.target === focus).flatMap((edge) => [edge.source, edge.target]));
  const most = Math.max(1, ...map.edges.map((edge) => edge.flows ?? 1));
  const lines = map.edges.map((edge) => line(edge, places, { focus, most })).filter(Boolean);
  const boxes = [...places.values()].map((place) => box(place, { near: near.has(place.device.address) || place.device.address === focus, onpick }));
  const says = `Map of ${many(drawn.length, "device")} and ${many(lines.length, "pair")} that talk; the tables below say the same`;
  return {
    svg: s("svg", { class: "map", viewBox: `0 0 ${width} ${Math.max(y, 60)}`, role: "img", "aria-label": says }, bands, lines, boxes),
    drawn: drawn.length,
  };
}

const worth = (device) => (device.name || device.criticality ? 1e12 : 0) + (device.role && device.role !== "unknown" ? 1e9 : 0) + (device.peers ?? 0) * 1e3 + Math.min(999, device.flows ?? 0);

function line(edge, places, { focus, most }) {
  const [from, to] = [places.get(edge.source), places.get(edge.target)];
  if (!from || !to || from === to) return null;
  const [x1, x2, y1, y2] = [from.x + BOX / 2, to.x + BOX / 2, from.y + HIGH / 2, to.y + HIGH / 2];
  const bend = y1 === y2 ? HIGH + 6 + Math.abs(x2 - x1) / 40 : 0; // beside one another: around those in between
  const isNear = focus !== null && (edge.source === focus || edge.target === focus);
  const kind = `edge${edge.new ? " new" : ""}${isNear ? " near" : focus !== null ? " far" : ""}`;
  const width = (1 + (3 * Math.log1p(edge.flows ?? 1)) / Math.log1p(most)).toFixed(1);
  const services = (edge.services ?? []).map((each) => each.service ?? each).slice(0, 4).join(", ");
  const says = `${edge.source} to ${edge.target}: ${services}, ${many(edge.flows ?? 0, "flow")}${edge.new ? ", new" : ""}`;
  return s("path", { class: kind, d: `M${x1} ${y1}Q${(x1 + x2) / 2} ${(y1 + y2) / 2 + bend} ${x2} ${y2}`, "stroke-width": width }, s("title", null, says));
}

function box({ x, y, device }, { near, onpick }) {
  const isCritical = ["high", "critical"].includes(String(device.criticality).toLowerCase());
  const kind = `device${near ? " near" : ""}${isCritical ? " critical" : ""}${device.state === "gone" ? " gone" : ""}`;
  const second = [device.name && device.address, device.title ?? device.role].filter((each) => each && each !== "unknown").join(" · ");
  const node = s(
    "g",
    { class: kind, transform: `translate(${x} ${y})` },
    s("title", null, [device.name, device.address, device.title ?? device.role, device.why].filter(Boolean).join("; ")),
    s("rect", { width: BOX, height: HIGH, rx: 6 }),
    s("text", { x: 8, y: second ? 17 : 24 }, shortened(device.name ?? device.address, 20)),
    second && s("text", { x: 8, y: 31, class: "second" }, shortened(second, 27)),
  );
  node.addEventListener("click", () => onpick(device.address));
  return node;
}
