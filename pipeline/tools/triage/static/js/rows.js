// Rows of incidents, all of one height: of any number only those in sight are elements.

import { h, own } from "./dom.js";
import { SEVERITY, count, duration, iso, moment, verdictSays } from "./words.js";

const AROUND = 12;

function names(incident) {
  const assets = new Map((incident.assets ?? []).map((asset) => [asset.address, asset]));
  const named = [...assets.values()].filter((asset) => asset.name || asset.role);
  return named.slice(0, 2).map((asset) => [asset.name ?? asset.address, asset.role].filter(Boolean).join(", "));
}

function often(incident) {
  const span = incident.last_us - incident.first_us;
  return incident.flows ? `${count(incident.flows)}×${span >= 1000 ? ` in ${duration(span)}` : ""}` : "";
}

function mark(incident) {
  const { verdict, suppressed } = incident;
  if (verdict) return h("span", { class: "chip good", title: `by ${verdict.by}` }, own(verdictSays(verdict.verdict)));
  const quiet = suppressed ? "Suppressed" : incident.kind === "notice" && incident.notice !== "lone" ? "Notice" : incident.page === false ? "For review" : null;
  return quiet && h("span", { class: "muted" }, quiet);
}

export const severityChip = (incident) =>
  h("span", { class: `chip s${Number(incident.severity_id) || 1}` }, SEVERITY[incident.severity_id] ?? incident.severity);

/** The element of one incident; `chosen` marks the one that is open. */
export function row(incident, { chosen, changed, showsSite }) {
  const goes = incident.state === "open";
  const meta = [showsSite && incident.site, (incident.sensors ?? []).join(" + "), ...names(incident)];
  for (const technique of (incident.techniques ?? []).slice(0, 1)) meta.push(`${technique.uid} ${technique.name}`);
  return h(
    "a",
    {
      class: `row${incident.verdict || incident.suppressed ? " done" : ""}${changed ? " changed" : ""}`,
      href: `#/incidents/${encodeURIComponent(incident.uid)}`,
      "aria-current": chosen ? "true" : undefined,
      tabindex: -1,
    },
    h("span", { class: "sev" }, severityChip(incident)),
    own(incident.title || incident.says, { class: "says" }),
    h("span", { class: "meta" }, meta.filter(Boolean).map((each, at) => [at ? " · " : "", own(each)])),
    h(
      "span",
      { class: "when" },
      h("time", { datetime: iso(incident.last_us), title: "last seen" }, moment(incident.last_us)),
    ),
    h("span", { class: "often" }, goes && h("span", { class: "going" }, "going on · "), often(incident)),
    h("span", { class: "mark" }, mark(incident)),
  );
}

/** A list of incidents in `list` (a `ul`), drawn as far as the pane `scroller` shows it. */
export class Rows {
  constructor(list, scroller, { showsSite = false, total = null } = {}) {
    Object.assign(this, { list, scroller, showsSite, total });
    this.incidents = [];
    this.drawn = new Map();
    this.changed = new Set();
    this.chosen = null;
    this.height = 0;
  }

  /** All incidents anew, those of before forgotten. */
  set(incidents) {
    this.incidents = [...incidents];
    this.clear();
    this.draw();
  }

  append(incidents) {
    this.incidents.push(...incidents);
    this.draw();
  }

  /** An incident that changed stays where it is; false where it is not here. */
  update(incident) {
    const at = this.indexOf(incident.uid);
    if (at < 0) return false;
    this.incidents[at] = incident;
    this.changed.add(incident.uid);
    this.redraw(at);
    return true;
  }

  indexOf(uid) {
    return this.incidents.findIndex(
      (each) => each.uid === uid || (each.members ?? []).some((member) => member.uid === uid),
    );
  }

  choose(uid) {
    const before = this.chosen === null ? -1 : this.indexOf(this.chosen);
    this.chosen = uid;
    for (const at of [before, uid === null ? -1 : this.indexOf(uid)]) if (at >= 0) this.redraw(at);
  }

  clear() {
    for (const item of this.drawn.values()) item.remove();
    this.drawn.clear();
  }

  redraw(at) {
    const item = this.drawn.get(at);
    if (!item) return;
    const focused = item.contains(document.activeElement);
    item.replaceChildren(this.element(at));
    if (focused) item.firstChild.focus({ preventScroll: true });
  }

  element(at) {
    const incident = this.incidents[at];
    const chosen = this.chosen !== null && this.indexOf(this.chosen) === at;
    const changed = this.changed.delete(incident.uid);
    return row(incident, { chosen, changed, showsSite: this.showsSite });
  }

  /** Draw what is in sight now. */
  draw() {
    const height = Number.parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || 62;
    this.height = height;
    this.list.style.height = `${this.incidents.length * height}px`;
    const top = this.list.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - AROUND);
    const last = Math.min(this.incidents.length, Math.ceil((this.scroller.clientHeight - top) / height) + AROUND);
    for (const [at, item] of this.drawn) {
      const held = item.contains(document.activeElement);
      if ((at < first || at >= last) && !held) {
        item.remove();
        this.drawn.delete(at);
      }
    }
    for (let at = first; at < last; at += 1) {
      let item = this.drawn.get(at);
      if (!item) {
        item = h("li", { "aria-posinset": at + 1, "aria-setsize": this.total ?? this.incidents.length }, this.element(at));
        this.drawn.set(at, item);
        this.insert(item, at);
      }
      item.style.transform = `translateY(${at * height}px)`;
    }
    return last;
  }

  // In order, so that Tab and screen readers walk them as they are seen.
  insert(item, at) {
    for (let next = at + 1; next < at + 2 * AROUND + 80; next += 1) {
      const after = this.drawn.get(next);
      if (after && after !== item) return this.list.insertBefore(item, after);
    }
    return this.list.append(item);
  }

  /** Focus a row, scrolled into sight. */
  focus(at) {
    const pane = this.scroller.getBoundingClientRect();
    const top = this.list.getBoundingClientRect().top + at * this.height;
    const headroom = (this.scroller.querySelector(".tools")?.offsetHeight ?? 0) + 4;
    if (top < pane.top + headroom) this.scroller.scrollTop -= pane.top + headroom - top;
    else if (top + this.height > pane.bottom) this.scroller.scrollTop += top + this.height - pane.bottom;
    this.draw();
    this.drawn.get(at)?.firstChild.focus({ preventScroll: true });
  }

  /** Tab reaches one row of the list: this one. */
  reachable(at) {
    for (const [each, item] of this.drawn) item.firstChild.tabIndex = each === at ? 0 : -1;
  }
}
