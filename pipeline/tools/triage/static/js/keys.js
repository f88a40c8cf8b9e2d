// Keys for whoever has no hand for the mouse; none is taken while one types.

import { h } from "./dom.js";

const SHOWN = [
  [["j", "k"], "next, previous incident"],
  [["Enter"], "open it"],
  [["Esc"], "back to the list"],
  [["f"], "false positive"],
  [["b", "x"], "benign"],
  [["m"], "maintenance"],
  [["d"], "duplicate"],
  [["t"], "true positive"],
  [["u"], "undo the verdict"],
  [["/"], "search"],
  [["r"], "load again"],
  [["?"], "these keys"],
];

export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    if (document.querySelector("dialog[open]")) return;
    if (target.matches?.("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.key === "Enter" && target.matches?.("a, button, summary")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

export function keysDialog() {
  const rows = SHOWN.map(([keys, says]) => [h("dt", null, keys.map((key, at) => [at ? " " : "", h("kbd", null, key)])), h("dd", null, says)]);
  const close = h("button", { class: "primary", autofocus: true }, "Close");
  const dialog = h(
    "dialog",
    { "aria-labelledby": "keys-title", onclose: () => dialog.remove() },
    h("h2", { id: "keys-title" }, "Keys"),
    h("dl", { class: "keys" }, rows),
    h("form", { method: "dialog" }, close),
  );
  document.body.append(dialog);
  dialog.showModal();
}
