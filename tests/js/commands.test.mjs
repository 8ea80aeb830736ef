import assert from "node:assert/strict";
import { test } from "node:test";

import { foremost, spoken, tell } from "../../clients/commands.js";

const command = (state, more = {}) => ({
  command_id: "c1", state, name: "set_speed", params: { rpm: 95 }, utterance: 1,
  reason: null, by: null, prompt: null, confirm: null, codeword: null, expires_ms: null, shadow: false, ...more,
});

for (const [state, more, text] of [
  ["proposed", {}, "About to do: set_speed (rpm 95)"],
  ["confirmed", { by: "operator a1" }, "Confirmed: set_speed (rpm 95) (operator a1)"],
  ["dispatched", {}, "Sent: set_speed (rpm 95)"],
  ["succeeded", {}, "Done: set_speed (rpm 95)"],
  ["failed", { reason: "it is busy" }, "Failed: set_speed (rpm 95) – it is busy"],
  ["denied", { by: "speaker" }, "Denied: set_speed (rpm 95) (speaker)"],
  ["expired", { reason: "nobody confirmed it in time" }, "Not done: set_speed (rpm 95) – nobody confirmed it in time"],
  ["rejected", { name: null, params: {}, reason: "no order" }, "Not done: Not understood – no order"],
  ["succeeded", { shadow: true }, "[shadow] Done: set_speed (rpm 95)"],
  ["of a later version", {}, "of a later version: set_speed (rpm 95)"],
]) {
  test(`says what has become of a command: ${text}`, () => assert.equal(tell(command(state, more)).text, text));
}

test("a question has both buttons, a command that is held only one", () => {
  const asked = tell(command("awaiting_confirmation", { prompt: "Set it?", confirm: "codeword", codeword: "amber" }));
  assert.deepEqual(asked, { asks: true, text: "Set it?", word: "amber", yes: "Confirm", no: "Deny" });
  const two = tell(command("awaiting_confirmation", { prompt: "Set it?", confirm: "two_person", reason: "one has" }));
  assert.deepEqual([two.text, two.yes], ["Set it? – one has", "Confirm (two persons)"]);
  const held = tell(command("proposed"));
  assert.deepEqual([held.asks, held.yes, held.no], [true, null, "Cancel"]);
});

test("who looks is asked what came of a command that nobody knows of", () => {
  const doubt = tell(command("dispatched", { prompt: "Was it done?", confirm: "outcome", reason: "no answer" }));
  assert.deepEqual([doubt.text, doubt.yes, doubt.no], ["Was it done? – no answer", "It was done", "It was not done"]);
});

test("labels are in the language of the page, what the server says stays as it is", () => {
  const asked = tell(command("awaiting_confirmation", { prompt: "Wirklich?", confirm: "two_person" }), "de");
  assert.deepEqual([asked.text, asked.yes, asked.no], ["Wirklich?", "Bestätigen (zwei Personen)", "Ablehnen"]);
  const late = tell(command("expired", { reason: "zu spät", shadow: true }), "de");
  assert.equal(late.text, "[Probe] Nicht ausgeführt: set_speed (rpm 95) – zu spät");
  assert.equal(tell(command("rejected", { name: null, params: {} }), "de").text, "Nicht ausgeführt: Nicht verstanden");
});

for (const [preferred, language] of [
  [["de-AT", "en"], "de"], [["fr", "DE"], "de"], [["en-GB", "de"], "en"], [["fr"], "en"], [[], "en"],
]) {
  test(`the page speaks ${language} for ${preferred}`, () => assert.equal(spoken(preferred), language));
}

test("what asks comes before what is newest", () => {
  const [old, question, newest] = [command("denied"), command("awaiting_confirmation"), command("succeeded")];
  assert.equal(foremost([old, question, newest]), question);
  assert.equal(foremost([old, newest]), newest);
  assert.equal(foremost([]), null);
});
