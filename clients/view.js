// What a client shows: the fold of one session's events. The twin of streamd/core/view.py; both read tests/vectors.
//
// 1. A welcome of another epoch, or with a lower seq than the view's, clears the view: what is retained follows.
// 2. An event whose seq the view has reached is ignored, so it does no harm that one comes twice.
// 3. A partial replaces the partial of its utterance, unless its rev is older. A final replaces both and is not replaced.
// 4. An utterance without text is not shown.
// 5. A gap with reason `restart` takes the utterances with it that have no final: the daemon died before it could
//    journal their words, and a reader that comes later never hears of them.
// 6. A second reading replaces text and words of an utterance that has its final, and does nothing to any other one.
// 7. A command's event replaces the former one of the same command, unless that was its end: denied, expired, rejected,
//    succeeded or failed. Commands stand in the order in which they were first told.
// 8. An utterance's id is the seq of the status that announced it, so ids of utterances and seqs of gaps sort together.
//
// No DOM, no network, no clock.

const OVER = [null, "idle", "stopping"]; // states in which no sound is expected
const SETTLED = ["denied", "expired", "rejected", "succeeded", "failed"]; // in which a command stays

/** The state of a client. `seq` is its cursor: what it asks to resume `after`. */
export class View {
  epoch = null;
  seq = 0;
  status = null; // the newest status event
  ended = null;
  vocabulary = []; // names and jargon that are expected
  role = null; // what this connection may do: viewer, speaker or operator
  #items = new Map(); // id → item; an item is never changed, only replaced
  #order = []; // ids, ascending
  #commands = new Map(); // command_id → its newest event

  /** Utterances and interruptions in the order in which they happened; the newest `limit` of them. */
  items(limit = Infinity) {
    const shown = [];
    for (let i = this.#order.length - 1; i >= 0 && shown.length < limit; i--) {
      const item = this.#items.get(this.#order[i]);
      if (item.text) shown.push(item);
    }
    return shown.reverse();
  }

  /** Where each command stands, in the order in which they were given; the newest `limit` of them. */
  commands(limit = Infinity) {
    return [...this.#commands.values()].slice(-limit);
  }

  /** The source came to its end, and no other one has started since. */
  get isOver() {
    return this.ended !== null && OVER.includes(this.status?.state ?? null);
  }

  /** Take in one message. False: it was known or outdated. */
  apply(message) {
    if (message.type === "welcome") return this.#welcome(message);
    const take = TAKE[message.type];
    if (!take || message.seq <= this.seq) return false;
    this.seq = message.seq;
    return take(this, message);
  }

  #welcome({ epoch, seq, role = null }) {
    this.role = role;
    const clears = epoch !== this.epoch || seq < this.seq;
    if (clears) {
      this.status = this.ended = null;
      this.vocabulary = [];
      this.#items.clear();
      this.#order = [];
      this.#commands.clear();
    }
    this.epoch = epoch;
    this.seq = seq;
    return clears;
  }

  hear(item) {
    const known = this.#items.get(item.id);
    if (known?.isFinal || (known && !item.isFinal && item.rev < known.rev)) return false;
    this.put(item);
    return true;
  }

  reread(item) {
    if (!this.#items.get(item.id)?.isFinal) return false;
    this.put(item);
    return true;
  }

  command(message) {
    if (SETTLED.includes(this.#commands.get(message.command_id)?.state)) return false;
    this.#commands.set(message.command_id, message);
    return true;
  }

  dropUnfinished() {
    this.#order = this.#order.filter((id) => this.#items.get(id).isFinal || !this.#items.delete(id));
  }

  put(item) {
    if (!this.#items.has(item.id)) {
      let at = this.#order.length; // nearly always the end
      while (at > 0 && this.#order[at - 1] > item.id) at--;
      this.#order.splice(at, 0, item.id);
    }
    this.#items.set(item.id, item);
  }
}

const TAKE = {
  partial: (view, message) => view.hear(partial(message)),
  final: (view, message) => view.hear(final(message)),
  revised: (view, message) => view.reread({ ...final(message), isRevised: true }),
  gap: (view, message) => {
    if (message.reason === "restart") view.dropUnfinished();
    view.put(interruption(message));
    return true;
  },
  command: (view, message) => view.command(message),
  status: (view, message) => ((view.status = message), true),
  vocabulary: (view, { terms }) => ((view.vocabulary = terms), true),
  ended: (view, message) => ((view.ended = message), true),
};

function partial({ utterance, rev, start_ms, end_ms, text, committed }) {
  const points = Array.from(text); // `committed` counts code points; a string's indices count UTF-16 units
  return {
    kind: "utterance",
    id: utterance,
    rev,
    start_ms,
    end_ms,
    text,
    stable: points.slice(0, committed).join(""),
    tentative: points.slice(committed).join(""),
    isFinal: false,
    isRevised: false,
  };
}

function final({ utterance, start_ms, end_ms, text, words, language, engine }) {
  return {
    kind: "utterance",
    id: utterance,
    rev: 0,
    start_ms,
    end_ms,
    text,
    stable: text,
    tentative: "",
    isFinal: true,
    isRevised: false,
    words,
    language,
    engine,
  };
}

function interruption({ seq, start_ms, end_ms, reason }) {
  const lasted = duration(end_ms - start_ms);
  const text = reason === "off" ? `[captions were off for ${lasted}]` : `[captions interrupted ${lasted}]`;
  return { kind: "interruption", id: seq, start_ms, end_ms, reason, text, stable: text, tentative: "", isFinal: true };
}

/** A length of time in the largest unit that still tells something: 0.4 s, 4 s, 2 min, 3 h. */
export function duration(ms) {
  if (ms < 950) return `0.${Math.max(1, Math.floor((ms + 50) / 100))} s`;
  if (ms < 119_500) return `${Math.floor((ms + 500) / 1_000)} s`;
  if (ms < 7_170_000) return `${Math.floor((ms + 30_000) / 60_000)} min`;
  return `${Math.floor((ms + 1_800_000) / 3_600_000)} h`;
}

const LAG_SHOWN_MS = 100; // less is not worth a word

const STATES = {
  starting: ["busy", "Starting the speech engine …"],
  listening: ["live", "Listening"],
  speech: ["live", "Listening"],
  no_signal: ["trouble", "No signal: the microphone is silent, muted or unplugged"],
  source_lost: ["trouble", "Source lost, looking for it …"],
  degraded: ["trouble", "Captions are late or incomplete"],
  idle: ["quiet", "Waiting for sound: no source is connected"],
  stopping: ["quiet", "The server is stopping"],
};

/**
 * What is happening, in plain words: {mood, headline, details}. `headline` changes seldom and may be announced;
 * `details` are figures. `link` is what Connection tells.
 */
export function describe(link, view) {
  if (link.state !== "open") return { mood: link.mood, headline: link.text, details: [] };
  if (view.isOver) return { mood: "quiet", headline: "Ended", details: [view.status?.detail].filter(Boolean) };
  if (!view.status) return { mood: "busy", headline: "Connected, waiting for news …", details: [] };
  const { state, lag_ms, source, detail } = view.status;
  const [mood, headline] = STATES[state] ?? ["quiet", state];
  const details = [];
  if (lag_ms >= LAG_SHOWN_MS) details.push(`${(lag_ms / 1_000).toFixed(1)} s behind`);
  if (source) details.push(source);
  if (detail) details.push(detail);
  return { mood, headline, details };
}
