// Elements from text. Whatever comes from the network is text: never markup, never a control that acts on its reader.

const SVG = "http://www.w3.org/2000/svg";
// Controls, marks of direction, what has no width, tags, and halves of a character.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]|\p{Cs}/gu;

/** Text in which every hidden character is written out: `\u202e`. */
export function clean(value) {
  return String(value ?? "").replace(HIDDEN, (each) => {
    const code = each.codePointAt(0);
    return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "href") element.setAttribute("href", ownAddress(value));
    else element.setAttribute(name, value === true ? "" : clean(value));
  }
  append(element, children);
  return element;
}

/** Only addresses of this page: `#/incidents`, `api/v1/...`. */
function ownAddress(value) {
  const text = String(value);
  return /^(#|api\/|vendor\/)/.test(text) ? text : "#/";
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
}

/** An HTML element: `h("p", {class: "x"}, "text", child)`. Children that are no elements become text. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same of SVG. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** Text from the network, with its direction kept to itself. */
export function own(value, props) {
  return h("bdi", props, value);
}

/** The element's children replaced. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Spoken by a screen reader, when it is idle. */
export function announce(text) {
  document.getElementById("says").textContent = clean(text);
}

/** A short message at the bottom, with one thing to do about it or none. */
export function toast(text, action, seconds = 8) {
  const box = document.getElementById("toasts");
  const close = () => note.remove();
  const note = h(
    "div",
    { class: "toast", role: "status" },
    h("span", null, own(text)),
    action && h("button", { type: "button", class: "quiet", onclick: () => (close(), action.run()) }, action.label),
    h("button", { type: "button", class: "quiet icon", "aria-label": "Close this message", onclick: close }, "×"),
  );
  box.append(note);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(close, seconds * 1000);
}

/** Copy text, where the browser allows it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.", null, 2);
  } catch {
    toast(`This browser does not let a page copy: ${text}`);
  }
}
