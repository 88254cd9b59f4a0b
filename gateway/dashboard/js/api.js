// The gateway's API, asked with one key. The key lives in a private field and goes nowhere but into a header.

/** What the API answered instead; `status` is 0 where there was no answer. */
export class ApiError extends Error {
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A question that takes longer has failed, milliseconds. */
const PATIENCE = 20_000;

export class Api {
  #key;
  #account;
  #refused;
  #ended = new AbortController();

  /** `account` is for operator keys; `refused` is called once the gateway takes the key no more. */
  constructor(key, account, refused) {
    this.#key = key;
    this.#account = account;
    this.#refused = refused;
  }

  /** Forgets the key and ends what runs. */
  end() {
    this.#key = null;
    this.#ended.abort();
  }

  get ended() {
    return this.#ended.signal.aborted;
  }

  /** `query` is a list of pairs. */
  get(path, query = []) {
    const search = new URLSearchParams(query).toString();
    return this.#ask("GET", search ? `${path}?${search}` : path);
  }

  post(path, body) {
    return this.#ask("POST", path, body);
  }

  delete(path) {
    return this.#ask("DELETE", path);
  }

  async #ask(method, path, body) {
    if (this.ended) throw new ApiError(0, "You are logged out.");
    const headers = { accept: "application/json", authorization: `Bearer ${this.#key}` };
    if (this.#account) headers["openai-organization"] = this.#account;
    if (body !== undefined) headers["content-type"] = "application/json";
    let response, answer;
    try {
      response = await fetch(path.replace(/^\//, ""), {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
        signal: AbortSignal.any([this.#ended.signal, AbortSignal.timeout(PATIENCE)]),
      });
      answer = await response.json().catch(() => null);
    } catch (error) {
      if (this.ended) throw new ApiError(0, "You are logged out.");
      throw new ApiError(0, error.name === "TimeoutError"
        ? "The gateway took too long to answer." : "The gateway cannot be reached.");
    }
    if (response.ok && answer !== null) return answer;
    const told = answer?.error ?? {};
    const message = typeof told.message === "string" ? told.message : `The gateway answered ${response.status}.`;
    if (response.status === 401) this.#refused(message);
    throw new ApiError(response.status, message, told.code ?? null);
  }
}

/** A path of which parts are other people's words. */
export const path = (strings, ...parts) =>
  strings.reduce((all, text, index) => all + encodeURIComponent(parts[index - 1]) + text);
