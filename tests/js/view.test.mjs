import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { View, describe, duration } from "../../clients/view.js";

const vectors = new URL("../vectors/", import.meta.url);

function portable(view) {
  return {
    epoch: view.epoch,
    seq: view.seq,
    state: view.status?.state ?? null,
    is_over: view.isOver,
    items: view.items().map((item) =>
      item.kind === "utterance"
        ? { id: item.id, stable: item.stable, tentative: item.tentative, is_final: item.isFinal }
        : { id: item.id, text: item.text },
    ),
    commands: view.commands().map(({ command_id, state }) => `${command_id} ${state}`),
  };
}

for (const file of readdirSync(vectors).filter((name) => /^view_.*\.json$/.test(name))) {
  for (const { name, messages, view: expected } of JSON.parse(readFileSync(new URL(file, vectors), "utf8"))) {
    test(`${file}: ${name}`, () => {
      const view = new View();
      for (const message of messages) view.apply(message);
      assert.deepEqual(portable(view), { commands: [], ...expected });
    });
  }
}

const final = (seq, text) => ({ type: "final", seq, utterance: seq, start_ms: 0, end_ms: 1, text, words: [] });

test("a limit takes the newest items that have text", () => {
  const view = new View();
  for (const [seq, text] of [[1, "one"], [2, "two"], [3, ""], [4, "four"]]) view.apply(final(seq, text));
  assert.deepEqual(view.items(2).map((item) => item.text), ["two", "four"]);
});

test("apply tells whether anything changed", () => {
  const view = new View();
  assert.equal(view.apply(final(1, "one")), true);
  assert.equal(view.apply(final(1, "one")), false);
  assert.equal(view.apply({ ...final(2, "two"), utterance: 1 }), false);
  assert.equal(view.apply({ type: "weather", seq: 3 }), false);
  assert.equal(view.apply({ type: "ended", seq: 3, audio_ms: 1 }), true);
});

test("what is expected is known until the view is cleared", () => {
  const view = new View();
  view.apply({ type: "welcome", seq: 0, epoch: "a" });
  assert.equal(view.apply({ type: "vocabulary", seq: 1, terms: ["Lasecki"] }), true);
  assert.deepEqual(view.vocabulary, ["Lasecki"]);
  view.apply({ type: "welcome", seq: 0, epoch: "b" });
  assert.deepEqual(view.vocabulary, []);
});

test("an item is replaced, not changed, so that a renderer can compare identities", () => {
  const view = new View();
  const say = (seq, rev, text) =>
    view.apply({ type: "partial", seq, utterance: 1, rev, start_ms: 0, end_ms: 1, text, committed: 0 });
  say(2, 1, "one");
  const [before] = view.items();
  say(3, 2, "one two");
  assert.equal(before.text, "one");
  assert.notEqual(view.items()[0], before);
});

for (const [ms, text] of [[0, "0.1 s"], [949, "0.9 s"], [950, "1 s"], [119_499, "119 s"], [119_500, "2 min"], [7_170_000, "2 h"]]) {
  test(`duration of ${ms} ms`, () => assert.equal(duration(ms), text));
}

const open = { state: "open" };
const status = (fields) => ({ type: "status", seq: 1, state: "listening", lag_ms: 0, source: null, detail: null, ...fields });

function told(...messages) {
  const view = new View();
  for (const message of messages) view.apply(message);
  return describe(open, view);
}

test("says what happens in plain words", () => {
  assert.deepEqual(told(status({ lag_ms: 420, source: "USB microphone" })), {
    mood: "live",
    headline: "Listening",
    details: ["0.4 s behind", "USB microphone"],
  });
  assert.equal(told(status({ state: "speech" })).headline, "Listening");
  assert.deepEqual(told(status({ state: "degraded", detail: "engine restarts" })).details, ["engine restarts"]);
  assert.equal(told(status({ state: "no_signal" })).mood, "trouble");
  assert.equal(told(status({ state: "of a later version" })).headline, "of a later version");
  assert.equal(told().headline, "Connected, waiting for news …");
  assert.equal(told({ type: "ended", seq: 1, audio_ms: 4 }).headline, "Ended");
  const early = told(status({ state: "idle", detail: "talk.wav breaks off" }), { type: "ended", seq: 2, audio_ms: 4 });
  assert.deepEqual([early.headline, early.details], ["Ended", ["talk.wav breaks off"]]);
  assert.equal(told({ type: "ended", seq: 1, audio_ms: 4 }, status({ seq: 2 })).headline, "Listening");
});

test("a broken connection comes before everything else", () => {
  const view = new View();
  view.apply(status({}));
  const link = { state: "waiting", mood: "trouble", text: "Reconnecting …" };
  assert.deepEqual(describe(link, view), { mood: "trouble", headline: "Reconnecting …", details: [] });
});
