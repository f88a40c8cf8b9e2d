// What somebody has opened, and the line that they read, over a redraw of what they look at.

const LINES = "h1, h2, h3, p, li, tr, summary, dl";
const MAX_LINES = 40;
const isOpen = (details) => details.open;
const keyOf = (element) => `${element.tagName} ${element.className} ${element.dataset.of ?? ""}`;
const lineOf = (element) => `${element.tagName} ${element.textContent}`;

/** Note what is open and in sight in a pane; the answer, called after it was drawn anew, makes it so again. */
export function held(pane) {
  const open = new Set([...pane.querySelectorAll("details")].filter(isOpen).map(keyOf));
  const inner = new Map(scrollers(pane).map((each) => [keyOf(each), [each.scrollLeft, each.scrollTop]]));
  const { scrollTop } = pane;
  const lines = scrollTop > 0 ? inSight(pane) : [];
  return () => {
    for (const details of pane.querySelectorAll("details")) {
      if (!open.has(keyOf(details))) continue;
      details.open = true;
      details.dispatchEvent(new Event("toggle")); // its content is there before it is scrolled to
    }
    for (const each of scrollers(pane)) [each.scrollLeft, each.scrollTop] = inner.get(keyOf(each)) ?? [0, 0];
    pane.scrollTop = scrollTop;
    const found = new Map([...pane.querySelectorAll(LINES)].map((each) => [lineOf(each), each]));
    const [line, was] = lines.find(([each]) => found.has(each)) ?? [];
    if (line) pane.scrollTop += topIn(pane, found.get(line)) - was;
  };
}

const scrollers = (pane) => [...pane.querySelectorAll(".scroll, pre")];
const topIn = (pane, element) => element.getBoundingClientRect().top - pane.getBoundingClientRect().top;

/** The lines from the top of the pane on, and how far below it each is. */
function inSight(pane) {
  const lines = [];
  for (const element of pane.querySelectorAll(LINES)) {
    const top = topIn(pane, element);
    if (top >= 0 && top < pane.clientHeight && element.getClientRects().length) lines.push([lineOf(element), top]);
    if (lines.length >= MAX_LINES) break;
  }
  return lines.sort((a, b) => a[1] - b[1]);
}
