// Who is there: name and password, or the plant's own sign-in where the server has one.

import { get, post } from "./api.js";
import { h, put } from "./dom.js";

const FAILED = {
  away: "The provider does not answer. Try again, or sign in with name and password.",
  refused: "The provider did not prove who you are. Try again; the audit log says more.",
  "no-role": "You are known, and in no group that may use this page. Ask who looks after it.",
  again: "This sign-in was begun elsewhere, or long ago. Try again.",
};
const RETURN = "forebay.return";

/** Why a sign-in at the provider failed, once; and where to go on where it did not. */
export function cameBack() {
  const why = FAILED[new URLSearchParams(location.search).get("sign-in")] ?? "";
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  return why;
}

/** Go on where somebody was before they left for the provider. */
export function goOn() {
  try {
    const address = sessionStorage.getItem(RETURN);
    sessionStorage.removeItem(RETURN);
    if (address?.startsWith("#/") && !location.hash) history.replaceState(null, "", address);
  } catch {
    // A browser that stores nothing begins at the list.
  }
}

function leave() {
  try {
    sessionStorage.setItem(RETURN, location.hash);
  } catch {
    // As above.
  }
}

export async function login(root, { says, onsigned }) {
  const user = h("input", { type: "text", name: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const problem = h("p", { role: "alert", class: says ? "notice warn" : "unseen" }, says);
  const button = h("button", { class: "primary" }, "Sign in");

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      await post("login", { user: user.value, password: password.value });
      await onsigned();
    } catch (error) {
      problem.className = "notice bad";
      put(problem, error.status === 401 ? "Name or password is wrong." : error.says);
      password.value = "";
      password.focus();
    } finally {
      button.disabled = false;
    }
  }

  const fields = [h("label", null, "Name", user), h("label", null, "Password", password), button];
  const form = h(
    "form",
    { onsubmit: submit, "aria-labelledby": "sign-in" },
    h("h1", { id: "sign-in" }, h("img", { src: "icon.svg", alt: "" }), "Forebay"),
    problem,
    fields,
  );
  put(root, h("main", { class: "login" }, form));
  user.focus();
  const provider = await get("login").catch(() => null);
  if (!provider?.oidc) return;
  if (!provider.password) fields.forEach((each) => each.remove());
  form.append(h("a", { class: "button", href: "api/v1/oidc/login", onclick: leave }, `Sign in with ${provider.oidc}`));
}
