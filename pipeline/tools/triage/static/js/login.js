// Who is there: name and password, or the plant's own sign-in where the server has one.

import { get, post } from "./api.js";
import { h, put } from "./dom.js";

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

  const form = h(
    "form",
    { onsubmit: submit, "aria-labelledby": "sign-in" },
    h("h1", { id: "sign-in" }, h("img", { src: "icon.svg", alt: "" }), "Forebay"),
    problem,
    h("label", null, "Name", user),
    h("label", null, "Password", password),
    button,
  );
  put(root, h("main", { class: "login" }, form));
  user.focus();
  const provider = await get("login").catch(() => null);
  if (provider?.oidc) form.append(h("a", { class: "button", href: "api/v1/oidc/login" }, `Sign in with ${provider.oidc}`));
}
