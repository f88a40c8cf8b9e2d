// What somebody makes of an incident: one click, said before it is done, undone by another.

import { incidentPath, post } from "./api.js";
import { announce, clean, h, own, put, toast } from "./dom.js";
import { VERDICTS, many, moment, scopeSays, verdictSays } from "./words.js";

const DAY_S = 86400;
const EXPIRIES = [
  [8 * 3600, "8 hours"],
  [DAY_S, "1 day"],
  [7 * DAY_S, "7 days"],
  [30 * DAY_S, "30 days"],
  [90 * DAY_S, "90 days"],
  [365 * DAY_S, "1 year"],
];
const PREVIEW_MS = 180;

/** What a verdict can speak of beyond its incident, narrowest first. */
export function scopesOf(incident) {
  const talk = incident.talks?.[0];
  const [source, target] = [talk?.source ?? incident.sources?.[0], talk?.target ?? incident.targets?.[0]];
  const choices = [
    { title: "The same again", scope: { kind: "incident" } },
    { title: "Nothing else: this incident only", scope: null },
  ];
  for (const each of (talk?.functions ?? []).slice(0, 1)) {
    const scope = { kind: "function", target, protocol: each.protocol, function: each.function };
    if (each.function && each.protocol) choices.push({ title: `${each.function} to ${target}`, scope });
  }
  if (talk && talk.proto) {
    const service = `${talk.proto}${talk.port === null || talk.port === undefined ? "" : `/${talk.port}`}`;
    const base = { kind: "service", port: talk.port ?? null, proto: talk.proto };
    choices.push({ title: `${service} from ${source} to ${target}`, scope: { ...base, source, target } });
    choices.push({ title: `${service} to ${target}, from anybody`, scope: { ...base, target } });
  }
  if (source && target) choices.push({ title: `Anything from ${source} to ${target}`, scope: { kind: "edge", source, target } });
  for (const address of new Set([source, target])) {
    if (address) choices.push({ title: `Anything with ${address}`, scope: { kind: "asset", address } });
  }
  for (const technique of (incident.techniques ?? []).slice(0, 1)) {
    choices.push({ title: `${technique.uid} ${technique.name} at this site`, scope: { kind: "technique", uid: technique.uid } });
  }
  return choices;
}

export class Verdict {
  constructor(owner) {
    this.owner = owner;
    Object.assign(this, { scopeAt: 0, expiresS: 30 * DAY_S, note: "", armed: null, preview: null, problem: null, busy: false, again: false });
  }

  get incident() {
    return this.owner.shown;
  }

  get mayJudge() {
    return ["analyst", "admin"].includes(this.owner.user.role) && this.incident.kind !== "notice";
  }

  get scope() {
    return scopesOf(this.incident)[this.scopeAt]?.scope ?? null;
  }

  draw() {
    this.box = h("section", { class: "verdict", "aria-label": "Verdict" });
    this.redraw();
    return this.box;
  }

  redraw() {
    const { verdict, suppressed } = this.incident;
    const held = this.box.contains(document.activeElement) ? document.activeElement.dataset.hold : null;
    const settled = verdict ? this.settled(verdict) : null;
    const quiet = !verdict && suppressed ? this.suppressed(suppressed) : null;
    put(this.box, settled, quiet, this.mayJudge && (!verdict || this.again) ? this.form() : this.reader(verdict));
    if (held) (this.box.querySelector(`[data-hold="${held}"]`) ?? this.box.querySelector("[data-hold]"))?.focus({ preventScroll: true });
  }

  reader(verdict) {
    if (this.incident.notice === "lone") return h("p", { class: "muted" }, "Suspects in no incident have no verdict; where they are usual, `forebay sensor accept` says so.");
    if (this.incident.kind === "notice") return h("p", { class: "muted" }, "A notice of a sensor has no verdict; `forebay sensor` has what can be done: accept, undo, relearn.");
    if (!this.mayJudge && !verdict) return h("p", { class: "muted" }, "Nobody has judged it. You can read; an analyst can settle it.");
    return null;
  }

  settled(verdict) {
    const scope = verdict.scope ? [" · suppresses ", own(scopeText(verdict.scope)), verdict.expires_us ? ` until ${moment(verdict.expires_us, { short: true })}` : ""] : " · suppresses nothing else";
    return h(
      "div",
      { class: "settled" },
      h("p", null, h("strong", null, `✓ ${clean(verdictSays(verdict.verdict))}`), " by ", own(verdict.by), ` · ${moment(verdict.at_us)}`, scope),
      verdict.note && h("p", null, "“", own(verdict.note), "”"),
      this.mayJudge &&
        h(
          "p",
          { class: "doing" },
          h("button", { type: "button", onclick: () => this.undo(), "data-hold": "undo" }, "Undo"),
          h("button", { type: "button", class: "quiet", "aria-expanded": String(this.again), onclick: () => ((this.again = !this.again), this.redraw()), "data-hold": "again" }, "Judge again"),
        ),
    );
  }

  suppressed(by) {
    return h(
      "div",
      { class: "settled" },
      h("p", null, h("strong", null, "Suppressed"), " by a verdict of ", own(by.by), by.scope ? [" on ", own(scopeText(by.scope))] : "", by.expires_us ? ` until ${moment(by.expires_us, { short: true })}` : ""),
      by.note && h("p", null, "“", own(by.note), "”"),
      this.mayJudge && h("p", { class: "doing" }, h("button", { type: "button", onclick: () => this.undoVerdict(by.verdict_id), "data-hold": "undo" }, "Undo that verdict")),
    );
  }

  form() {
    const buttons = VERDICTS.map((each) =>
      h(
        "button",
        {
          type: "button",
          class: `judge ${each.word}${this.armed === each.word ? " armed" : ""}`,
          title: `${each.hint} (key ${each.key})`,
          disabled: this.busy,
          "data-hold": each.word,
          onclick: () => this.click(each.word),
          onpointerenter: () => this.look(each.word),
          onfocus: () => this.look(each.word),
        },
        this.armed === each.word ? `Yes: ${each.says}` : each.says,
      ),
    );
    const scopes = scopesOf(this.incident);
    const choose = h(
      "select",
      { "data-hold": "scope", onchange: (event) => this.choose({ scopeAt: Number(event.target.value) }) },
      scopes.map(({ title }, at) => h("option", { value: String(at), selected: at === this.scopeAt }, title)),
    );
    choose.value = String(this.scopeAt);
    const expiry = h(
      "select",
      { "data-hold": "expiry", disabled: this.scope === null, onchange: (event) => this.choose({ expiresS: Number(event.target.value) }) },
      EXPIRIES.map(([seconds, says]) => h("option", { value: String(seconds) }, says)),
    );
    expiry.value = String(this.expiresS);
    const note = h("input", { type: "text", maxlength: 500, placeholder: "Why (others read it)", "data-hold": "note", "aria-label": "Note", oninput: (event) => (this.note = event.target.value) });
    note.value = this.note;
    this.says = h("p", { class: "preview", "aria-live": "polite" });
    this.drawPreview();
    if (!this.preview) this.look(VERDICTS[0].word, 0);
    return [
      h("div", { class: "judges", role: "group", "aria-label": "Settle it as" }, buttons),
      h("div", { class: "reach" }, labelled("Suppresses", "verdict-scope", choose), labelled("for", "verdict-expiry", expiry), h("span", { class: "field note" }, note)),
      this.says,
      this.problem && h("p", { class: "notice bad", role: "alert" }, own(this.problem)),
    ];
  }

  drawPreview() {
    const { preview } = this;
    if (!this.says) return;
    if (!preview) return void put(this.says, " ");
    const listed = preview.matches > 0 ? ` ${many(preview.matches, "incident")} of the list ${preview.matches === 1 ? "is" : "are"} of this kind.` : "";
    put(this.says, h("strong", null, `${verdictSays(preview.word)}: `), own(preview.says), preview.hasCount ? "" : listed);
  }

  choose(change) {
    Object.assign(this, change, { preview: null, armed: null });
    this.redraw();
  }

  body(word) {
    const scope = word === "tp" ? null : this.scope;
    return { verdict: word, scope, expires_s: scope === null ? null : this.expiresS, note: this.note.trim() };
  }

  /** Ask what a verdict would do, and show it. */
  look(word, after = PREVIEW_MS) {
    clearTimeout(this.looking);
    if (this.preview?.word === word) return;
    const asked = this.body(word);
    this.looking = setTimeout(async () => {
      const { uid } = this.incident ?? {};
      if (!uid || this.busy) return;
      try {
        const { says, matches } = await post(`${incidentPath(uid)}/verdicts/preview`, asked);
        const number = Array.isArray(matches) ? matches.length : Number(matches ?? 0);
        this.preview = { word, says, matches: number, hasCount: /\d/.test(says) };
        this.drawPreview();
      } catch (error) {
        if (error.status !== 401 && this.says) put(this.says, own(error.says));
      }
    }, after);
  }

  /** The narrow scopes at once; what reaches further asks once more, with what it will do in sight. */
  click(word) {
    const isNarrow = word === "tp" || this.scopeAt < 2;
    if (isNarrow || (this.armed === word && this.preview?.word === word)) return this.give(word);
    this.armed = word;
    this.preview = this.preview?.word === word ? this.preview : null;
    this.redraw();
    this.look(word, 0);
    return announce("Read what it will do, then press again.");
  }

  press(key) {
    const found = VERDICTS.find((each) => each.key === key);
    if (!found || !this.mayJudge || this.busy) return;
    if (this.incident.verdict && !this.again) announce("It is settled; u undoes the verdict.");
    else this.click(found.word);
  }

  async give(word) {
    const { uid } = this.incident;
    Object.assign(this, { busy: true, problem: null });
    this.redraw();
    try {
      const { verdict, says } = await post(`${incidentPath(uid)}/verdicts`, this.body(word));
      Object.assign(this, { armed: null, again: false, note: "", preview: null });
      const undo = verdict?.id ? { label: "Undo", run: () => this.undoVerdict(verdict.id) } : null;
      toast([`${verdictSays(word)}: done.`, ...(says ?? [])].join(" "), undo);
    } catch (error) {
      this.problem = error.says;
    } finally {
      this.busy = false;
    }
    await this.after(uid);
  }

  undo() {
    if (!this.mayJudge) return;
    const id = this.incident.verdict?.id ?? this.incident.suppressed?.verdict_id;
    if (id) this.undoVerdict(id);
    else announce("There is no verdict to undo.");
  }

  async undoVerdict(id) {
    const uid = this.incident?.uid;
    try {
      await post(`verdicts/${encodeURIComponent(id)}/undo`, { note: "" });
      toast("The verdict is undone.", null, 4);
      this.preview = null;
    } catch (error) {
      this.problem = error.says;
      if (error.status === 0 || !this.box?.isConnected) toast(error.says);
    }
    await this.after(uid);
  }

  async after(uid) {
    await this.owner.refresh();
    if (this.incident?.uid === uid && this.box?.isConnected) this.redraw();
    this.owner.onsettled(this.incident);
  }
}

function labelled(text, id, control) {
  control.id = id;
  return h("span", { class: "field" }, h("label", { for: id }, text), control);
}

function scopeText(scope) {
  return scope.kind === "incident" ? "the same again" : scopeSays(scope);
}
