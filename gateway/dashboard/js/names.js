// What keys are called: the API's accounts speak of them by id.

/** Names by id, filled by whoever learns of keys. */
export class Names {
  #byId = new Map();

  learn(id, name) {
    if (name) this.#byId.set(id, name);
  }

  /** `Name (…end of the id)`, or the id alone; two keys may bear one name. */
  of(id) {
    if (id === null || id === undefined) return "unknown key";
    const name = this.#byId.get(id);
    return name ? `${name} (…${id.slice(-6)})` : id;
  }
}
