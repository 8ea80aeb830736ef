// Where a session is, and a connection to its events that never gives up. See README.md for the wire.

const QUICK_MS = 250; // the first wait; each further one is twice as long
const SLOW_MS = 5_000; // the longest wait
const SILENCE_MS = 12_000; // the server sends a status at least every 5 s, so this long without one is a dead line

// What a close code asks of a reader: whether there is any hurry, and what to tell in the meantime.
const CLOSES = {
  1001: { text: () => "The server is restarting, reconnecting …" },
  1008: { slow: true, text: (_, reason) => `Refused by the server: ${reason || "see its log"}` },
  4404: { slow: true, gone: true, text: (name) => `No session named ${name} yet, waiting for it …` },
  4408: { now: true, text: () => "Catching up …" },
  4429: { slow: true, text: () => "The server has no room for another reader, trying again …" },
};
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/; // of a session
const LOST = { text: () => "Connection lost, reconnecting …" };

/** A condition that is told to the reader in plain words. */
export class Trouble extends Error {}

/** Milliseconds until the next try: 250, 500, … 5000, half of it by chance, so that a full room does not come at once. */
export function backoff(attempts, random = Math.random) {
  return Math.min(SLOW_MS, QUICK_MS * 2 ** Math.min(attempts, 10)) * (0.5 + random() / 2);
}

/** The session that a page is about: ?session=NAME, or the server's first one; with ?token= if there is one. */
export class Place {
  name = null;
  #asked;
  #token;
  #origin;

  constructor(location) {
    const query = new URLSearchParams(location.search);
    this.#asked = this.name = query.get("session") || null;
    this.#token = query.get("token");
    this.#origin = location.origin;
  }

  /** The session's name; asks the server once if the page's address has none. */
  async find() {
    if (!this.name) this.name = await this.#first();
    if (!this.name) throw new Trouble("No session is running yet, waiting for one …");
    if (!NAME.test(this.name)) throw new Trouble(`“${this.name}” can’t be the name of a session: check this page’s address.`);
    return this.name;
  }

  /** The name may be out of date: ask again next time. */
  forget() {
    this.name = this.#asked;
  }

  /** Address of something of the session, as `https:` or (for `ws`) `wss:`. */
  url(path, { scheme = "http", ...params } = {}) {
    const url = new URL(`/v1/sessions/${encodeURIComponent(this.name)}/${path}`, this.#origin);
    url.protocol = url.protocol.replace("http", scheme);
    return this.#with(url, params);
  }

  #with(url, params) {
    for (const [key, value] of Object.entries({ ...params, token: this.#token })) {
      if (value !== null && value !== undefined) url.searchParams.set(key, value);
    }
    return url.href;
  }

  async #first() {
    const answer = await fetch(this.#with(new URL("/v1/sessions", this.#origin), {}));
    if (answer.status === 401) {
      throw new Trouble("This server asks for a token: open the link that you were given, with ?token=…");
    }
    const { sessions, error } = await answer.json();
    if (!answer.ok) throw new Trouble(`Refused by the server: ${error}`);
    return sessions[0]?.name ?? null;
  }
}

/**
 * Keeps `view` up to date for ever. Calls `changed()` after each message and each change of `link`:
 * {state: "connecting" | "open" | "waiting", mood, text}. `welcomed(message)` is called for each welcome.
 */
export class Connection {
  link = { state: "connecting", mood: "busy", text: "Connecting …" };
  #place;
  #view;
  #changed;
  #welcomed;
  #asks;
  #random;
  #socket = null;
  #attempts = 0; // since the last welcome
  #heardAt = 0;
  #retrying = null;
  #watchdog;

  constructor({ place, view, changed, welcomed = () => {}, asks = {}, random = Math.random }) {
    this.#place = place;
    this.#view = view;
    this.#changed = changed;
    this.#welcomed = welcomed;
    this.#asks = asks;
    this.#random = random;
    this.#watchdog = setInterval(() => this.check(), 1_000);
    this.#connect();
  }

  /** Look now whether the line is dead: after a sleep, timers are late. */
  check() {
    if (this.#socket && Date.now() - this.#heardAt > SILENCE_MS) this.#lost(LOST);
  }

  /** There is reason to hope: don't wait any longer. */
  retry() {
    if (this.#retrying !== null) this.#connect();
  }

  /** Say something to the server. False: there is no connection now. */
  send(message) {
    if (this.link.state !== "open") return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  stop() {
    clearInterval(this.#watchdog);
    this.#leave();
  }

  async #connect() {
    this.#leave();
    const attempt = (this.#socket = {}); // a place-holder: whoever finds another one there is out of date
    this.#heardAt = Date.now();
    try {
      await this.#place.find();
    } catch (error) {
      if (this.#socket === attempt) this.#lost(error instanceof Trouble ? { slow: true, text: () => error.message } : LOST);
      return;
    }
    if (this.#socket === attempt) this.#open();
  }

  #open() {
    const { seq, epoch } = this.#view;
    const resume = epoch === null ? {} : { after: seq, epoch };
    const socket = (this.#socket = new WebSocket(this.#place.url("events", { scheme: "ws", ...resume, ...this.#asks })));
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(CLOSES[code] ?? LOST, reason);
  }

  #hear(message) {
    this.#heardAt = Date.now();
    this.#view.apply(message);
    if (message.type === "welcome") {
      this.#attempts = 0;
      this.link = { state: "open" };
      this.#welcomed(message);
    }
    this.#changed();
  }

  #lost({ slow = false, now = false, gone = false, text }, reason) {
    this.#leave();
    const wait = now && this.#attempts === 0 ? 0 : backoff(slow ? Infinity : this.#attempts, this.#random);
    this.#attempts += 1;
    this.#retrying = setTimeout(() => this.#connect(), wait);
    this.link = { state: "waiting", mood: "trouble", text: text(this.#place.name, reason) };
    if (gone) this.#place.forget();
    this.#changed();
  }

  #leave() {
    clearTimeout(this.#retrying);
    this.#retrying = null;
    const socket = this.#socket;
    this.#socket = null; // before close: what it still has to say is of no interest
    socket?.close?.();
  }
}
