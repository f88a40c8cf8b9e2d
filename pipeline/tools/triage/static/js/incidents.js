// The list of incidents: filter, sort, search, keyboard; what comes in meanwhile waits on a button on top.

import { get } from "./api.js";
import { announce, h, own, put, toast } from "./dom.js";
import { SORTS, VIEWS, addressOf, matches, paramsOf, readFilter, set } from "./filters.js";
import { Rows } from "./rows.js";
import { Strip } from "./strip.js";
import { count, localTime, many, microseconds, moment } from "./words.js";

const FIRST_PAGE = 60;
const NEXT_PAGE = 300;
const OF_A_SITE = 15;
const MAX_GROUPS = 12;

export class Incidents {
  constructor(pane, { go }) {
    Object.assign(this, { pane, go });
    this.filter = readFilter(new URLSearchParams());
    this.sites = [];
    this.groups = [];
    this.pending = new Map();
    this.at = null;
    this.next = null;
    this.generation = 0;
    this.body = h("div", { class: "body" });
    this.bar = h("div", { class: "controls" });
    const strip = h("div", { class: "strip", role: "img", "aria-label": "Incidents over time" });
    this.strip = new Strip(strip, { onrange: (since, until) => go(addressOf({ ...this.filter, since_us: since, until_us: until })) });
    this.top = h("div", { class: "tools" }, this.bar, strip);
    put(pane, h("h1", { class: "unseen" }, "Incidents"), this.top, this.body);
    pane.addEventListener("scroll", () => this.scrolled(), { passive: true });
    pane.addEventListener("focusin", (event) => this.focused(event));
    new ResizeObserver(() => this.draw()).observe(pane);
  }

  /** Show what an address asks for; nothing is loaded again where that is shown already. */
  async show(query, { again = false } = {}) {
    const filter = readFilter(query);
    const same = JSON.stringify(filter) === JSON.stringify(this.filter);
    if (same && this.loaded && !again) return;
    this.filter = filter;
    await this.load();
  }

  async load() {
    const generation = ++this.generation;
    this.loaded = true;
    this.pending.clear();
    this.next = null;
    this.drawBar();
    try {
      // Without the names of sites the list is one, and still a list.
      if (!this.sites.length) this.sites = await get("sites").then(siteNames, () => []);
      const grouped = !this.filter.site && this.sites.length > 1 && this.sites.length <= MAX_GROUPS;
      const asked = grouped ? this.sites : [this.filter.site];
      const limit = grouped ? OF_A_SITE : FIRST_PAGE;
      const [overview, ...pages] = await Promise.all([
        grouped ? get("incidents", { ...paramsOf(this.filter), limit: 1 }) : null,
        ...asked.map((site) => get("incidents", { ...paramsOf(this.filter), site, limit })),
      ]);
      if (generation !== this.generation) return;
      const all = overview ?? pages[0];
      Object.assign(this, { total: all.total, counts: all.counts, grouped, problem: null });
      this.drawGroups(asked, pages);
      this.strip.load(paramsOf(this.filter));
    } catch (error) {
      if (generation !== this.generation) return;
      this.problem = error;
      if (error.status !== 401) this.drawProblem(error);
      if (error.status === 0) setTimeout(() => generation === this.generation && this.load(), 3000);
    }
  }

  drawProblem(error) {
    const again = h("button", { type: "button", onclick: () => this.load() }, "Try again");
    put(this.body, h("div", { class: "empty", role: "alert" }, h("strong", null, "The list did not come."), h("p", null, error.says), again));
    this.drawBar();
  }

  drawGroups(sites, pages) {
    this.groups = [];
    this.pane.scrollTop = 0;
    this.at = null;
    put(this.body);
    pages.forEach((page, index) => {
      if (this.grouped && !page.incidents.length) return;
      const list = h("ul", { class: "rows", "aria-label": this.grouped ? `Incidents at ${sites[index]}` : "Incidents" });
      if (this.grouped) this.body.append(this.siteHead(sites[index], page));
      this.body.append(list);
      const several = this.sites.length > 1 && !this.grouped && !this.filter.site;
      const rows = new Rows(list, this.pane, { total: page.total, showsSite: several });
      rows.chosen = this.chosen ?? null;
      rows.set(page.incidents);
      this.groups.push(rows);
    });
    if (!this.grouped) this.next = pages[0].next;
    this.foot = h("div", { class: "tail" });
    this.body.append(this.foot);
    this.drawFoot();
    this.drawBar();
    this.groups[0]?.reachable(0);
  }

  siteHead(site, page) {
    const all = page.total > page.incidents.length;
    return h(
      "div",
      { class: "site-head" },
      h("h2", null, own(site)),
      h("span", { class: "muted" }, all ? `${count(page.incidents.length)} of ${count(page.total)}` : count(page.total)),
      h("a", { href: addressOf({ ...this.filter, site }) }, all ? `All ${count(page.total)}` : "Only this site"),
    );
  }

  drawFoot() {
    const shown = this.groups.reduce((sum, rows) => sum + rows.incidents.length, 0);
    if (!shown) return put(this.foot, this.nothing());
    if (this.grouped) return put(this.foot);
    return put(this.foot, this.next ? `${count(shown)} of ${count(this.total)} loaded; scroll for more` : `${many(shown, "incident")}, all shown`);
  }

  nothing() {
    const some = Object.values(this.counts ?? {}).some((number) => number > 0);
    const says = {
      todo: ["Nothing to do.", some ? "No incident that paged waits for a verdict. New ones appear here by themselves." : "There is no incident yet: a sensor that still learns shows none. New ones appear here by themselves."],
      review: ["Nothing to review.", "No lone or held-back incident is waiting."],
      suppressed: ["Nothing is suppressed.", "When a verdict suppresses the same again, what it suppressed is listed here."],
      settled: ["Nothing is settled yet.", "Incidents with a verdict are listed here, with who gave it."],
      all: ["No incidents.", "Nothing was found in the flows so far."],
    }[this.filter.view];
    const filtered = set(this.filter) > 0;
    return h(
      "div",
      { class: "empty" },
      h("strong", null, filtered ? "Nothing matches." : says[0]),
      h("p", null, filtered ? "No incident of this view has all that the filters ask for. " : says[1]),
      filtered && h("a", { href: addressOf({ view: this.filter.view }) }, "Clear the filters"),
    );
  }

  drawBar() {
    const { filter, counts } = this;
    const held = this.bar.contains(document.activeElement) ? document.activeElement.getAttribute("name") : null;
    const isOpen = this.bar.querySelector("details")?.open ?? false;
    const tab = (view) => {
      const sum = counts && Object.values(counts).reduce((all, each) => all + each, 0);
      const number = view.count ? counts?.[view.count] : sum;
      const current = view.name === filter.view ? "page" : undefined;
      const { view: _view, ...rest } = filter;
      const parts = [view.title, number !== undefined && h("span", { class: "n" }, count(number))];
      const again = current && ((event) => (event.preventDefault(), this.load()));
      return h("a", { href: addressOf({ view: view.name, ...rest }), "aria-current": current, onclick: again }, parts);
    };
    const typed = this.bar.querySelector("[name=q]")?.value;
    put(
      this.bar,
      h("nav", { class: "tabs", "aria-label": "Views of the list" }, VIEWS.map(tab)),
      h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, this.controls(typed, held)),
      this.summary(),
    );
    const details = this.bar.querySelector("details");
    if (details) details.open = isOpen;
    if (held) this.bar.querySelector(`[name="${held}"]`)?.focus();
  }

  controls(typed, held) {
    const { filter } = this;
    let timer = null;
    const change = (name) => (event) => this.go(addressOf({ ...filter, [name]: event.target.value }));
    const later = (name) => (event) => {
      clearTimeout(timer);
      const { value } = event.target;
      timer = setTimeout(() => this.go(addressOf({ ...filter, [name]: value.trim() }), { replace: true }), 250);
    };
    const select = (name, title, choices, props) =>
      h(
        "select",
        { name, "aria-label": title, onchange: change(name), ...props },
        choices.map(([value, says]) => h("option", { value, selected: (filter[name] ?? choices[0][0]) === value }, says)),
      );
    const search = h("input", { type: "search", name: "q", "aria-label": "Search incidents", placeholder: "Search  /", oninput: later("q") });
    search.value = held === "q" && typed !== undefined ? typed : (filter.q ?? "");
    const sites = [["", "All sites"], ...this.sites.map((site) => [site, site])];
    const severities = [["", "Any severity"], ...["Critical", "High", "Medium", "Low", "Informational"].map((each) => [each.toLowerCase(), each])];
    const states = [["", "Open and ended"], ["open", "Going on"], ["ended", "Ended"]];
    const choices = [["site", "Site", sites], ["severity", "Severity", severities], ["state", "State", states], ["sort", "Order", SORTS]];
    const text = (name, title, hint) => {
      const input = h("input", { type: "text", name, placeholder: hint, oninput: later(name) });
      input.value = filter[name] ?? "";
      return h("label", null, title, input);
    };
    const time = (name, title) => {
      const input = h("input", { type: "datetime-local", name, onchange: (event) => this.go(addressOf({ ...filter, [name]: microseconds(event.target.value) })) });
      input.value = filter[name] ? localTime(filter[name]) : "";
      return h("label", null, title, input);
    };
    const hidden = ["technique", "asset", "sensor"].filter((name) => filter[name]).length;
    return [
      search,
      ...choices.map(([name, title, values]) => select(name, title, values)),
      h(
        "details",
        null,
        h("summary", null, hidden ? `More filters (${hidden})` : "More filters"),
        h(
          "div",
          { class: "more" },
          ...choices.map(([name, title, values]) => h("label", { class: "also" }, title, select(name, title, values, { "aria-label": undefined }))),
          text("asset", "Asset", "address or name"),
          text("technique", "Technique", "T0846"),
          text("sensor", "Sensor", "name"),
          time("since_us", "From"),
          time("until_us", "Until"),
          h("a", { href: addressOf({ view: filter.view }) }, "Clear the filters"),
        ),
      ),
    ];
  }

  summary() {
    const waiting = this.pending.size;
    const { since_us: since, until_us: until, ...rest } = this.filter;
    const says = `${many(waiting, "new incident", "new incidents")}: show`;
    const fresh = waiting > 0 && h("button", { type: "button", class: "fresh", name: "fresh", onclick: () => this.load() }, says);
    const range = [since ? moment(since, { short: true }) : "the first", until ? moment(until, { short: true }) : "now"].join(" to ");
    const clear = h("button", { type: "button", class: "quiet", "aria-label": "All times", onclick: () => this.go(addressOf(rest)) }, "×");
    const limited = (since || until) && h("span", { class: "range" }, range, clear);
    return fresh || limited ? h("div", { class: "summary" }, limited, fresh) : null;
  }

  /** An incident came or changed: in place where it is listed, else it waits until it is asked for. */
  receive(incident) {
    for (const rows of this.groups) if (rows.update(incident)) return;
    if (!this.loaded || !matches(incident, this.filter)) return;
    const before = this.pending.size;
    this.pending.set(incident.uid, incident);
    if (this.pending.size !== before) {
      this.drawBar();
      announce(`${many(this.pending.size, "new incident", "new incidents")}`);
    }
  }

  /** Counts anew, a moment after the last change. */
  refreshCounts() {
    clearTimeout(this.counting);
    this.counting = setTimeout(async () => {
      try {
        const page = await get("incidents", { ...paramsOf(this.filter), limit: 1 });
        Object.assign(this, { counts: page.counts, total: page.total });
        this.drawBar();
        this.strip.load(paramsOf(this.filter));
      } catch (error) {
        if (error.status >= 500) toast(error.says);
      }
    }, 400);
  }

  /** After the stream was away: what was missed is compared with what is shown. */
  async catchUp() {
    if (this.problem || !this.loaded) return this.load();
    try {
      const page = await get("incidents", { ...paramsOf(this.filter), limit: FIRST_PAGE });
      Object.assign(this, { counts: page.counts, total: page.total });
      for (const incident of page.incidents) {
        const known = this.groups.some((rows) => rows.indexOf(incident.uid) >= 0);
        if (known) this.groups.forEach((rows) => differs(rows, incident) && rows.update(incident));
        else this.pending.set(incident.uid, incident);
      }
      this.drawBar();
    } catch (error) {
      if (error.status !== 0) toast(error.says);
    }
  }

  scrolled() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    let last = 0;
    for (const rows of this.groups) last = rows.draw();
    const only = this.groups[0];
    if (this.next && only && last > only.incidents.length - 40) this.more();
  }

  async more() {
    if (this.loading) return;
    const generation = this.generation;
    this.loading = true;
    try {
      const page = await get("incidents", { ...paramsOf(this.filter), limit: NEXT_PAGE, after: this.next });
      if (generation !== this.generation) return;
      this.next = page.next;
      this.groups[0].append(page.incidents.filter((each) => this.groups[0].indexOf(each.uid) < 0));
      this.drawFoot();
    } catch (error) {
      if (error.status !== 401) put(this.foot, error.says, " ", h("button", { type: "button", onclick: () => this.more() }, "Try again"));
    } finally {
      this.loading = false;
    }
  }

  focused(event) {
    const link = event.target.closest?.(".row");
    if (!link) return;
    for (const [group, rows] of this.groups.entries()) {
      for (const [at, item] of rows.drawn) if (item.firstChild === link) this.at = [group, at];
    }
  }

  /** Mark the incident that is open. */
  choose(uid) {
    this.chosen = uid;
    for (const [group, rows] of this.groups.entries()) {
      rows.choose(uid);
      const at = uid === null ? -1 : rows.indexOf(uid);
      if (at >= 0) this.at = [group, at];
    }
  }

  /** The incident that many rows further down (or up), focused; null at the ends. */
  step(by) {
    if (!this.groups.length) return null;
    let [group, at] = this.at ?? [0, by > 0 ? -1 : 0];
    at += by;
    if (at < 0 && group > 0) at = this.groups[--group].incidents.length - 1;
    else if (at >= this.groups[group].incidents.length && group < this.groups.length - 1) [group, at] = [group + 1, 0];
    const incident = this.groups[group].incidents[at];
    if (!incident) return null;
    this.at = [group, at];
    this.groups[group].focus(at);
    return incident;
  }

  /** The incident that the keyboard is on. */
  get current() {
    return this.at ? this.groups[this.at[0]]?.incidents[this.at[1]] : undefined;
  }
}

function differs(rows, incident) {
  const at = rows.indexOf(incident.uid);
  return at >= 0 && JSON.stringify(rows.incidents[at]) !== JSON.stringify(incident);
}

/** Names of sites, of `{sites: [...]}` with names or documents. */
export function siteNames(answer) {
  const sites = Array.isArray(answer) ? answer : (answer?.sites ?? []);
  return sites.map((site) => (typeof site === "string" ? site : (site.site ?? site.name))).filter(Boolean);
}
