// Numbers and times as people read them.

const NUMBER = new Intl.NumberFormat("en-GB");
export const SEVERITY = { 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal" };
export const VERDICTS = [
  { word: "fp", says: "False positive", key: "f", hint: "Nothing of the kind happened." },
  { word: "benign", says: "Benign", key: "b", hint: "It happened, and it is fine." },
  { word: "maintenance", says: "Maintenance", key: "m", hint: "It was planned work." },
  { word: "duplicate", says: "Duplicate", key: "d", hint: "It is known from another incident." },
  { word: "tp", says: "True positive", key: "t", hint: "It is an attack or a fault to act on." },
];

export const count = (number) => NUMBER.format(Number(number ?? 0));
export const many = (number, one, several = `${one}s`) => `${count(number)} ${Number(number) === 1 ? one : several}`;

export function verdictSays(word) {
  return VERDICTS.find((each) => each.word === word)?.says ?? { test: "Test" }[word] ?? String(word ?? "");
}

let zone = "local";
try {
  zone = localStorage.getItem("forebay.zone") === "utc" ? "utc" : "local";
} catch {
  zone = "local";
}
export const timeZone = () => zone;
export const zoneSays = () => (zone === "utc" ? "UTC" : new Intl.DateTimeFormat().resolvedOptions().timeZone || "local");
export function setTimeZone(chosen) {
  zone = chosen;
  try {
    localStorage.setItem("forebay.zone", chosen);
  } catch {
    // A browser that stores nothing asks again the next time.
  }
}

const formats = new Map();
function parts(us) {
  if (!formats.has(zone)) {
    const options = { hourCycle: "h23", year: "numeric", month: "short", day: "numeric", hour: "2-digit" };
    Object.assign(options, { minute: "2-digit", second: "2-digit", timeZone: zone === "utc" ? "UTC" : undefined });
    formats.set(zone, new Intl.DateTimeFormat("en-GB", options));
  }
  const at = new Date(Number(us) / 1000);
  if (Number.isNaN(at.getTime())) return null;
  return Object.fromEntries(formats.get(zone).formatToParts(at).map((part) => [part.type, part.value]));
}

/** `10 Mar 2023 14:22:01`; only the time where it is of today. */
export function moment(us, { short = false } = {}) {
  if (us === null || us === undefined) return "–";
  const at = parts(us);
  if (at === null) return "–";
  const today = parts(Date.now() * 1000);
  const time = `${at.hour}:${at.minute}${short ? "" : `:${at.second}`}`;
  const sameYear = at.year === today.year;
  if (sameYear && at.month === today.month && at.day === today.day) return time;
  return `${at.day} ${at.month}${sameYear ? "" : ` ${at.year}`} ${time}`;
}

/** The last part of a span: no day where it is the first's. */
export function until(firstUs, lastUs) {
  const [first, last] = [parts(firstUs), parts(lastUs)];
  if (first === null || last === null) return "–";
  const same = ["year", "month", "day"].every((name) => first[name] === last[name]);
  return same ? `${last.hour}:${last.minute}:${last.second}` : moment(lastUs);
}

export function iso(us) {
  const at = new Date(Number(us) / 1000);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString();
}

/** A time as an input of type datetime-local has it, and back: in the zone that is shown. */
export function localTime(us) {
  const at = new Date(Number(us) / 1000);
  const shifted = zone === "utc" ? at : new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return Number.isNaN(shifted.getTime()) ? "" : shifted.toISOString().slice(0, 16);
}

export function microseconds(text) {
  const at = text ? new Date(zone === "utc" ? `${text}Z` : text).getTime() : Number.NaN;
  return Number.isNaN(at) ? "" : String(at * 1000);
}

/** `3 min 9 s`. */
export function duration(us) {
  const total = Math.max(0, Number(us) / 1e6);
  if (total < 0.001) return `${Math.round(total * 1e6)} µs`;
  if (total < 1) return `${Math.round(total * 1000)} ms`;
  if (total < 60) return `${total < 10 ? total.toFixed(1) : Math.round(total)} s`;
  const seconds = Math.round(total);
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = units.findIndex(([size]) => seconds >= size);
  const [size, name] = units[at];
  const rest = Math.floor((seconds % size) / units[at + 1][0]);
  return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${units[at + 1][1]}` : ""}`;
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, at] = [Number(number ?? 0), 0];
  while (value >= 1000 && at < units.length - 1) [value, at] = [value / 1000, at + 1];
  return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

/** What a scope covers, in a few words. */
export function scopeSays(scope) {
  if (!scope) return "this incident";
  const rest = Object.entries(scope).filter(([name, value]) => name !== "kind" && value !== null && value !== "");
  const words = rest.map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(", ") : value}`);
  return [scope.kind === "incident" ? "this incident" : scope.kind, ...words].join(" · ");
}
