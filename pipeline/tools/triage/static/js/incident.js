// One incident: the sentence, one click to settle it, and below why it is one.

import { get, incidentPath } from "./api.js";
import { announce, copy, h, own, put } from "./dom.js";
import { sections } from "./evidence.js";
import { held } from "./held.js";
import { severityChip } from "./rows.js";
import { Verdict } from "./verdict.js";
import { count, duration, iso, many, moment, until } from "./words.js";

export class Incident {
  constructor(pane, { user, back, go, onsettled }) {
    Object.assign(this, { pane, user, back, go, onsettled, uid: null, answer: null });
    this.pane.addEventListener("focusin", () => this.pane.classList.add("read"));
  }

  /** The incident that is shown, whatever uid it was asked for by. */
  get shown() {
    return this.answer?.incident ?? null;
  }

  close() {
    this.asking?.abort();
    Object.assign(this, { uid: null, answer: null, verdict: null });
    put(this.pane);
  }

  async show(uid) {
    if (this.uid === uid && this.answer) return;
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    Object.assign(this, { uid, answer: null, verdict: null });
    put(this.pane); // another one: nothing of the one before is held
    this.pane.setAttribute("aria-busy", "true");
    try {
      const answer = await get(incidentPath(uid), null, signal);
      if (this.uid !== uid) return;
      this.answer = answer;
      this.draw();
      this.arrived();
    } catch (error) {
      if (error.name === "AbortError" || this.uid !== uid || error.status === 401) return;
      this.drawProblem(error);
    } finally {
      this.pane.removeAttribute("aria-busy");
    }
  }

  // Beside the list the focus stays in the list; where the incident takes its place, it moves along.
  arrived() {
    const list = document.querySelector(".triage .list");
    const beside = list && getComputedStyle(list).display !== "none";
    if (beside && list.contains(document.activeElement)) announce(this.shown.title);
    else this.pane.querySelector("h1")?.focus({ preventScroll: true });
    document.title = `${this.shown.title} · Forebay`;
  }

  drawProblem(error) {
    const gone = error.status === 404 || error.status === 400 || error.status === 422;
    put(
      this.pane,
      h(
        "div",
        { class: "empty", role: "alert" },
        h("strong", null, gone ? "There is no such incident." : "The incident did not come."),
        h("p", null, gone ? "Its uid may be mistyped, or it is no longer retained." : error.says),
        h("p", null, h("button", { type: "button", onclick: this.back }, "Back to the list")),
      ),
    );
  }

  /** Load it again, what is typed stays. */
  async refresh() {
    if (!this.uid || !this.answer) return;
    const { uid } = this;
    try {
      const answer = await get(incidentPath(uid));
      if (this.uid !== uid || JSON.stringify(answer) === JSON.stringify(this.answer)) return;
      const before = this.answer.incident.verdict?.id;
      this.answer = answer;
      this.draw();
      const { verdict } = answer.incident;
      if (verdict && verdict.id !== before) announce(`Settled by ${verdict.by}`);
    } catch (error) {
      if (error.status === 400 || error.status === 404) this.drawProblem(error);
    }
  }

  /** Something changed; where it is this one, it is loaded again. */
  changed(incident) {
    if (!this.shown) return;
    const uids = [this.shown.uid, ...(this.shown.members ?? []).map((member) => member.uid)];
    if (!incident.uid || [incident.uid, ...(incident.members ?? []).map((each) => each.uid)].some((each) => uids.includes(each))) {
      clearTimeout(this.refreshing);
      this.refreshing = setTimeout(() => this.refresh(), 150);
    }
  }

  draw() {
    if (!this.answer) return;
    const { incident } = this.answer;
    const restore = held(this.pane);
    const focused = this.pane.contains(document.activeElement) ? document.activeElement.dataset.hold : null;
    this.verdict ??= new Verdict(this);
    put(
      this.pane,
      h("article", { class: "incident" }, this.head(incident), this.verdict.draw(), incident.says !== incident.title && h("p", { class: "sentence" }, own(incident.says)), h("div", { class: "sections" }, sections(this.answer, this.pane.clientWidth - 40))),
    );
    restore();
    if (focused) this.pane.querySelector(`[data-hold="${focused}"]`)?.focus({ preventScroll: true });
  }

  head(incident) {
    const isOpen = incident.state === "open";
    const paged = incident.page ? "Paged" : "For review";
    return h(
      "header",
      null,
      h(
        "div",
        { class: "crumbs" },
        h("button", { type: "button", class: "quiet", onclick: this.back, "data-hold": "back" }, "← List"),
        severityChip(incident),
        h("span", { class: `chip${isOpen ? " bad" : ""}` }, isOpen ? "Going on" : "Ended"),
        h("span", { class: "chip", title: incident.disposition_says ?? "" }, incident.kind === "notice" && incident.notice !== "lone" ? "Notice" : paged),
        h("button", { type: "button", class: "quiet uid mono", title: "Copy the uid", onclick: () => copy(incident.uid) }, own(incident.uid.slice(0, 12))),
      ),
      h("h1", { tabindex: -1, "data-hold": "h1" }, own(incident.title || incident.says)),
      h("dl", { class: "facts" }, this.facts(incident).map(([name, ...value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
      incident.disposition_says && h("p", { class: "muted why" }, `${paged}: `, own(incident.disposition_says)),
    );
  }

  facts(incident) {
    const time = (us, says) => h("time", { datetime: iso(us), title: `${iso(us)} (UTC)` }, says);
    const span = incident.last_us - incident.first_us;
    const rows = [
      ["Since", time(incident.first_us, moment(incident.first_us)), " to ", time(incident.last_us, until(incident.first_us, incident.last_us))],
      ["How often", `${many(incident.flows, "flow")}${span >= 1000 ? ` in ${duration(span)}` : ""}`, incident.late ? `, ${count(incident.late)} late` : ""],
      ["Where", own(incident.site), " · ", own((incident.sensors ?? []).join(" + "))],
    ];
    if (incident.kind !== "notice") rows.push(["How sure", `${incident.confidence ?? "?"} of 100`]);
    const named = (incident.assets ?? []).filter((asset) => asset.name || asset.role);
    if (named.length) rows.push(["Who", ...named.slice(0, 4).flatMap((asset, at) => [at ? ", " : "", own(assetSays(asset))])]);
    return rows;
  }

  press(key) {
    if (this.answer) this.verdict?.press(key);
  }

  undo() {
    if (this.answer) this.verdict?.undo();
  }
}

export function assetSays(asset) {
  const about = [asset.role, asset.criticality && `${asset.criticality} criticality`].filter(Boolean).join(", ");
  return `${asset.name ? `${asset.name} (${asset.address})` : asset.address}${about ? `: ${about}` : ""}`;
}
