// The page: who is signed in, which screen the address names, the keys, and the stream of what changes.

import { post, session } from "./api.js";
import { announce, h, put, toast } from "./dom.js";
import { Incident } from "./incident.js";
import { Incidents } from "./incidents.js";
import { keysDialog, onKeys } from "./keys.js";
import { live } from "./live.js";
import { cameBack, goOn, login } from "./login.js";
import { showAssets } from "./map.js";
import { SCREENS } from "./tables.js";
import { moment, setTimeZone, timeZone, zoneSays } from "./words.js";

const NAV = [
  ["incidents", "Incidents"],
  ["assets", "Map and assets"],
  ["sensors", "Sensors"],
  ["models", "Models"],
  ["replays", "Replays"],
  ["audit", "Audit"],
];
const LIVE = { connecting: "Connecting …", live: "Live", away: "Reconnecting …" };
const FEED_MS = 30_000;
const root = document.getElementById("app");
let user = null;
let page = null;

/** What an address asks for: `#/incidents/UID?view=todo` -> name, uid, query. */
export function route(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [name = "", ...rest] = path.split("/");
  let uid = null;
  try {
    uid = rest.length ? decodeURIComponent(rest.join("/")) : null;
  } catch {
    uid = rest.join("/");
  }
  return { name: name || "incidents", uid: uid || null, query: new URLSearchParams(query) };
}

function go(address, { replace = false } = {}) {
  if (location.hash === address) return show();
  if (!replace) {
    location.hash = address;
    return undefined;
  }
  history.replaceState(null, "", address);
  return show();
}

function shell() {
  const state = h("span", { class: "state", role: "status" }, LIVE.connecting);
  const main = h("main", { id: "main", tabindex: -1 });
  const shown = NAV.filter(([name]) => name !== "audit" || user.role === "admin");
  const links = shown.map(([name, title]) => h("li", null, h("a", { href: `#/${name}`, "data-screen": name }, title)));
  const skip = h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), main.focus()) }, "Skip to content");
  put(
    root,
    skip,
    h(
      "header",
      { class: "bar" },
      h("a", { class: "brand", href: "#/incidents" }, h("img", { src: "icon.svg", alt: "" }), "Forebay"),
      h("nav", { "aria-label": "Screens" }, h("ul", null, links)),
      h("div", { class: "rest" }, state, ...settings()),
    ),
    main,
  );
  const triage = h("div", { class: "triage" });
  const listPane = h("section", { class: "pane list", "aria-label": "List of incidents", tabindex: -1 });
  const detailPane = h("section", { class: "pane detail", "aria-label": "The incident", tabindex: -1 });
  triage.append(listPane, detailPane);
  const list = new Incidents(listPane, { go });
  const incident = new Incident(detailPane, { user, back, go, onsettled: () => list.refreshCounts() });
  return { main, triage, list, incident, state };
}

function settings() {
  const zone = h("button", { type: "button", class: "quiet long", onclick: switchZone }, zoneLabel());
  const dark = h("button", { type: "button", class: "quiet icon", "aria-label": "Light or dark", title: "Light or dark", onclick: switchTheme }, "◐");
  const keys = h("button", { type: "button", class: "quiet icon long", "aria-label": "Keys", title: "Keys (?)", onclick: keysDialog }, "?");
  const out = user.can_log_out && h("button", { type: "button", class: "quiet", onclick: signOut, title: `Signed in as ${user.user}, ${user.role}` }, "Sign out");
  return [zone, dark, keys, user.user && h("span", { class: "muted long" }, user.user), out];
}

const zoneLabel = () => `Times: ${zoneSays()}`;

function switchZone(event) {
  setTimeZone(timeZone() === "utc" ? "local" : "utc");
  put(event.currentTarget, zoneLabel());
  page.list.groups.forEach((rows) => (rows.clear(), rows.draw()));
  page.incident.draw();
  if (page.name !== "incidents") show();
}

function switchTheme() {
  const style = document.documentElement;
  const isDark = style.dataset.theme ? style.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  style.dataset.theme = isDark ? "light" : "dark";
  try {
    localStorage.setItem("forebay.theme", style.dataset.theme);
  } catch {
    // A browser that stores nothing asks the system the next time.
  }
  document.dispatchEvent(new CustomEvent("theme-changed"));
  announce(`${style.dataset.theme} theme`);
}

async function signOut() {
  try {
    await post("logout");
  } finally {
    location.reload();
  }
}

/** From an incident back to the list it was opened from. */
function back() {
  const filter = page.listAddress ?? "#/incidents";
  go(filter);
}

async function show() {
  if (!page) return;
  const { name, uid, query } = route(location.hash);
  for (const link of document.querySelectorAll("[data-screen]")) {
    if (link.dataset.screen === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page.name = name;
  page.leave?.();
  page.leave = null;
  if (name === "incidents") await showIncidents(uid, query);
  else await showScreen(name, uid, query);
}

async function showIncidents(uid, query) {
  const { main, triage, list, incident } = page;
  if (triage.parentNode !== main) put(main, triage);
  const wasOpen = incident.uid;
  triage.classList.toggle("open", Boolean(uid));
  list.choose(uid);
  if (!uid) {
    page.listAddress = location.hash || "#/incidents";
    incident.close();
    document.title = "Incidents · Forebay";
    await list.show(query);
    if (wasOpen && list.at) list.groups[list.at[0]]?.focus(list.at[1]);
    return;
  }
  const listed = list.show(route(page.listAddress ?? "#/incidents").query);
  await incident.show(uid);
  await listed;
  list.choose(incident.shown?.uid ?? uid);
  list.draw();
}

async function showScreen(name, uid, query) {
  page.incident.close();
  const screen = name === "assets" ? showAssets : SCREENS[name];
  const box = h("div", { class: "screen" });
  put(page.main, h("div", { class: "pane", tabindex: -1 }, box));
  if (!screen) {
    put(box, h("div", { class: "empty" }, h("h1", null, "There is no such screen."), h("a", { href: "#/incidents" }, "To the incidents")));
    return;
  }
  document.title = `${NAV.find(([each]) => each === name)[1]} · Forebay`;
  page.leave = await screen(box, { uid, query, go });
}

function onEvent(name, data) {
  if (!page) return;
  if (name === "incident") {
    if (data.document) page.list.receive(data.document);
    page.list.refreshCounts();
    page.incident.changed(data.document ?? { uid: data.uid });
  } else if (name === "verdict") {
    page.list.refreshCounts();
    for (const uid of data.verdict?.uids ?? []) page.incident.changed({ uid });
  } else if (name === "reload") {
    missed();
  } else if (name === "sensors" && page.name === "sensors") {
    clearTimeout(page.refreshing);
    page.refreshing = setTimeout(() => page?.name === "sensors" && show(), 2000);
  }
}

/** Something was missed: what is shown is compared with what is. */
function missed() {
  refreshFeed();
  page?.list.catchUp();
  page?.incident.refresh();
}

function keys() {
  const inList = () => page?.name === "incidents";
  const step = (by) => {
    if (!inList()) return;
    const incident = page.list.step(by);
    if (!incident) return announce(by > 0 ? "The last incident." : "The first incident.");
    if (page.incident.uid) go(`#/incidents/${encodeURIComponent(incident.uid)}`, { replace: true });
  };
  return {
    j: () => step(1),
    k: () => step(-1),
    Enter: () => inList() && page.list.current && go(`#/incidents/${encodeURIComponent(page.list.current.uid)}`),
    Escape: () => inList() && page.incident.uid && back(),
    "/": () => inList() && document.querySelector("[name=q]")?.focus(),
    r: () => (inList() ? page.list.load() : show()),
    u: () => inList() && page.incident.undo(),
    "?": keysDialog,
    ...Object.fromEntries(["f", "b", "m", "d", "t"].map((key) => [key, () => inList() && page.incident.press(key)])),
    x: () => inList() && page.incident.press("b"),
  };
}

async function start() {
  try {
    user = await session();
  } catch (error) {
    if (error.status === 401) return askWho();
    const again = h("button", { type: "button", onclick: start }, "Try again");
    put(root, h("main", { class: "empty" }, h("h1", null, "The page has no answer from its server."), h("p", { role: "alert" }, error.says), again));
    return setTimeout(() => page === null && user === null && root.querySelector(".empty") && start(), 4000);
  }
  if (user.login || !user.user) return askWho(cameBack());
  goOn();
  page = shell();
  page.stream = live({
    onevent: onEvent,
    onstate(state) {
      page.stream_state = state;
      drawState();
    },
    onback: missed,
  });
  return show();
}

/** Whether what is shown is of now: the stream to the server, and the server's from the broker. */
function drawState() {
  const { state, stream_state: stream = "connecting" } = page;
  const feed = user.feed ?? {};
  const isAway = stream === "live" && feed.state === "away";
  const isBehind = stream === "live" && ["starting", "reading"].includes(feed.state);
  const isFile = stream === "live" && feed.state === "file";
  state.className = `state ${isAway ? "away" : stream}`;
  state.title = isAway ? feed.error : isFile ? "No broker is read: nothing comes in" : "";
  const says = isBehind ? "Reading what came before …" : isFile ? "Alerts of a file" : LIVE[stream];
  put(state, isAway ? `No broker since ${moment(feed.since_us, { short: true })}` : says);
}

async function refreshFeed() {
  if (!page || document.hidden) return;
  const found = await session().catch(() => null);
  if (!page || !found) return;
  if (!found.user) return void document.dispatchEvent(new CustomEvent("signed-out"));
  user.feed = found.feed;
  drawState();
}

function askWho(says = "") {
  page?.stream?.close();
  page = null;
  document.title = "Sign in · Forebay";
  login(root, { says, onsigned: start });
}

document.addEventListener("signed-out", () => {
  if (page) askWho("Your session has ended. Sign in to go on where you were.");
});
window.addEventListener("hashchange", show);
window.addEventListener("unhandledrejection", (event) => event.reason?.says && event.reason.status !== 401 && toast(event.reason.says));
setInterval(refreshFeed, FEED_MS);
document.addEventListener("visibilitychange", refreshFeed);
onKeys(keys());
start();
