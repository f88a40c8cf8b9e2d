// What the list shows, as it stands in the address: five views, and filters on top of them.

export const VIEWS = [
  { name: "todo", title: "To do", params: { page: "yes", settled: "no", suppressed: "no" }, count: "page" },
  { name: "review", title: "For review", params: { page: "no", settled: "no", suppressed: "no" }, count: "review" },
  { name: "suppressed", title: "Suppressed", params: { suppressed: "yes", settled: "no" }, count: "suppressed" },
  { name: "settled", title: "Settled", params: { settled: "yes" }, count: "settled" },
  { name: "all", title: "All", params: {}, count: null },
];
export const SORTS = [
  ["-last_us", "Newest first"],
  ["last_us", "Oldest first"],
  ["-severity", "Most severe first"],
  ["severity", "Least severe first"],
];
const NAMES = ["site", "sensor", "severity", "state", "technique", "asset", "q", "sort", "since_us", "until_us"];

/** Of an address's query: the view, and the filters that are set. */
export function readFilter(query) {
  const filter = { view: VIEWS.some((each) => each.name === query.get("view")) ? query.get("view") : "todo" };
  for (const name of NAMES) if (query.get(name)) filter[name] = query.get(name);
  return filter;
}

export function addressOf(filter) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value && !(name === "view" && value === "todo")) query.set(name, value);
  const text = query.toString();
  return `#/incidents${text ? `?${text}` : ""}`;
}

/** The parameters of GET incidents. */
export function paramsOf({ view, ...rest }) {
  return { ...VIEWS.find((each) => each.name === view).params, sort: "-last_us", ...rest };
}

/** How many filters are set, besides view and order. */
export const set = ({ view: _view, sort: _sort, ...rest }) => Object.keys(rest).length;

const isYes = (value, wanted) => wanted === undefined || (wanted === "yes") === Boolean(value);

/** Whether an incident that just came belongs into the list; what is searched for is for the server to find. */
export function matches(incident, filter) {
  const params = paramsOf(filter);
  const text = (value) => String(value ?? "").toLowerCase();
  const addresses = [...(incident.sources ?? []), ...(incident.targets ?? [])];
  for (const asset of incident.assets ?? []) addresses.push(asset.address, asset.name);
  return (
    isYes(incident.page, params.page) &&
    isYes(incident.settled ?? incident.verdict, params.settled) &&
    isYes(incident.suppressed, params.suppressed) &&
    (!params.site || incident.site === params.site) &&
    (!params.sensor || (incident.sensors ?? []).includes(params.sensor)) &&
    (!params.state || incident.state === params.state) &&
    (!params.severity || text(incident.severity) === text(params.severity)) &&
    (!params.since_us || incident.last_us >= Number(params.since_us)) &&
    (!params.until_us || incident.first_us <= Number(params.until_us)) &&
    (!params.technique || (incident.techniques ?? []).some((each) => text(each.uid).startsWith(text(params.technique)))) &&
    (!params.asset || addresses.some((each) => text(each) === text(params.asset))) &&
    (!params.q || text([incident.says, incident.title, ...addresses].join(" ")).includes(text(params.q)))
  );
}
