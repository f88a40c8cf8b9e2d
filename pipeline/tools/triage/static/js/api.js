// The page's only way to its server: JSON under api/v1, errors that say where, what, and what to do.

const BASE = "api/v1/";
let csrf = "";

export class ApiError extends Error {
  constructor(status, error) {
    super(error.got || `answer ${status}`);
    Object.assign(this, { status, where: error.where ?? "", got: error.got ?? "", expected: error.expected ?? "" });
    this.remedy = error.remedy ?? "";
  }

  get says() {
    const parts = [this.where && `${this.where}:`, this.got && `got ${this.got},`, this.expected && `expected ${this.expected}`];
    const text = parts.filter(Boolean).join(" ").replace(/,$/, "");
    return [text, this.remedy].filter(Boolean).join("; ") || this.message;
  }
}

function address(path, params) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== undefined && value !== null && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return BASE + path + (text ? `?${text}` : "");
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const remedy = "it is tried again as soon as the server answers";
    throw new ApiError(0, { where: "the page's server", got: "no answer", expected: "one", remedy });
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    body = null;
  }
  if (response.ok) return body;
  const error = body?.error ?? { where: path, got: `status ${response.status}` };
  if (response.status === 401 && !path.endsWith("login")) document.dispatchEvent(new CustomEvent("signed-out"));
  throw new ApiError(response.status, error);
}

export const get = (path, params, signal) => ask(address(path, params), { signal });

export function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  return ask(address(path), { method: "POST", headers, body: JSON.stringify(body ?? {}) });
}

/** Who is signed in. The token of later requests comes with it. */
export async function session() {
  const found = await get("session");
  csrf = found.csrf ?? "";
  return found;
}

export const incidentPath = (uid) => `incidents/${encodeURIComponent(uid)}`;
