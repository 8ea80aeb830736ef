import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Connection, Place, backoff } from "../../clients/connection.js";
import { View } from "../../clients/view.js";

class FakeSocket {
  static all = [];
  static get last() {
    return FakeSocket.all.at(-1);
  }
  closed = false;
  constructor(url) {
    this.url = new URL(url);
    FakeSocket.all.push(this);
  }
  close() {
    this.closed = true;
  }
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  welcome(fields) {
    this.say({ type: "welcome", seq: 0, epoch: "a", oldest: 1, newest: 0, ...fields });
  }
  drop(code, reason = "") {
    this.onclose({ code, reason });
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve)); // lets promises of fetch and find go on
let connection;
let view;

async function connect(address = "http://host:8765/?session=room") {
  view = new View();
  connection = new Connection({ place: new Place(new URL(address)), view, changed: () => {}, random: () => 1 });
  await settle();
}

async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

function sessions(status, ...names) {
  const body = status === 200 ? { sessions: names.map((name) => ({ name })) } : { error: "not here" };
  return mock.method(globalThis, "fetch", async () => ({ ok: status === 200, status, json: async () => body }));
}

beforeEach(() => {
  FakeSocket.all = [];
  globalThis.WebSocket = FakeSocket;
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
});

afterEach(() => {
  connection?.stop();
  connection = undefined;
  mock.timers.reset();
  mock.restoreAll();
});

test("addresses carry name and token, and know TLS", () => {
  const place = new Place(new URL("https://host/overlay?session=r%C3%B6om%201&token=a%26b"));
  assert.equal(place.url("transcript.srt"), "https://host/v1/sessions/r%C3%B6om%201/transcript.srt?token=a%26b");
  assert.equal(place.url("events", { scheme: "ws", after: 0 }), "wss://host/v1/sessions/r%C3%B6om%201/events?after=0&token=a%26b");
});

test("the first connection asks for everything", async () => {
  await connect();
  assert.equal(FakeSocket.last.url.href, "ws://host:8765/v1/sessions/room/events");
  assert.equal(connection.link.text, "Connecting …");
  FakeSocket.last.welcome();
  assert.equal(connection.link.state, "open");
});

test("a lost connection comes back where it left off", async () => {
  await connect();
  FakeSocket.last.welcome();
  FakeSocket.last.say({ type: "status", seq: 7, state: "idle" });
  FakeSocket.last.drop(1006);
  assert.equal(connection.link.state, "waiting");
  await pass(250);
  assert.equal(FakeSocket.last.url.search, "?after=7&epoch=a");
  assert.equal(view.status.state, "idle");
});

test("waits grow to five seconds and start again after a welcome", async () => {
  await connect();
  for (const wait of [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]) {
    FakeSocket.last.drop(1006);
    const before = FakeSocket.all.length;
    await pass(wait - 1);
    assert.equal(FakeSocket.all.length, before);
    await pass(1);
    assert.equal(FakeSocket.all.length, before + 1);
  }
  FakeSocket.last.welcome();
  FakeSocket.last.drop(1001);
  await pass(250);
  assert.equal(FakeSocket.all.length, 9);
});

test("waits differ by chance", () => {
  assert.equal(backoff(2, () => 0), 500);
  assert.equal(backoff(2, () => 1), 1_000);
  assert.equal(backoff(1e9, () => 1), 5_000);
});

test("twelve seconds without a sign of life are a dead line", async () => {
  await connect();
  FakeSocket.last.welcome();
  await pass(11_000);
  FakeSocket.last.say({ type: "status", seq: 1, state: "listening" });
  const [first] = FakeSocket.all;
  await pass(12_000);
  assert.equal(first.closed, false);
  await pass(1_000);
  assert.equal(first.closed, true);
  assert.equal(connection.link.text, "Connection lost, reconnecting …");
  await pass(250);
  assert.equal(FakeSocket.all.length, 2);
});

test("what a given-up line still says is ignored", async () => {
  await connect();
  const [first] = FakeSocket.all;
  first.welcome();
  first.drop(1006);
  await pass(250);
  first.say({ type: "status", seq: 9, state: "listening" });
  first.drop(1006);
  assert.equal(view.seq, 0);
  assert.equal(FakeSocket.all.length, 2);
});

test("a reader that was too slow resumes at once", async () => {
  await connect();
  FakeSocket.last.welcome();
  FakeSocket.last.drop(4408);
  await pass(0);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.drop(4408); // without having been welcomed: no endless hurry
  await pass(499);
  assert.equal(FakeSocket.all.length, 2);
});

for (const [code, reason, text] of [
  [4404, "", "No session named room yet, waiting for it …"],
  [4429, "", "The server has no room for another reader, trying again …"],
  [1008, "bad token", "Refused by the server: bad token"],
]) {
  test(`close code ${code} is told and tried again slowly`, async () => {
    await connect();
    FakeSocket.last.drop(code, reason);
    assert.equal(connection.link.text, text);
    await pass(4_999);
    assert.equal(FakeSocket.all.length, 1);
    await pass(1);
    assert.equal(FakeSocket.all.length, 2);
  });
}

test("without a name, the server's first session is taken", async () => {
  const fetched = sessions(200, "hall", "stage");
  await connect("http://host:8765/?token=t");
  assert.equal(fetched.mock.calls[0].arguments[0], "http://host:8765/v1/sessions?token=t");
  assert.equal(FakeSocket.last.url.href, "ws://host:8765/v1/sessions/hall/events?token=t");
});

for (const [status, text] of [
  [200, "No session is running yet, waiting for one …"],
  [401, "This server asks for a token: open the link that you were given, with ?token=…"],
  [403, "Refused by the server: not here"],
]) {
  test(`no name to be had: ${status}`, async () => {
    sessions(status);
    await connect("http://host:8765/");
    assert.equal(connection.link.text, text);
    mock.restoreAll();
    sessions(200, "hall");
    await pass(5_000);
    assert.equal(FakeSocket.all.length, 1);
  });
}

test("a name that can't be one is told, and not asked for", async () => {
  await connect("http://host:8765/?session=a/b");
  assert.match(connection.link.text, /“a\/b” can’t be the name of a session/);
  assert.equal(FakeSocket.all.length, 0);
});

test("a server that does not answer is asked again", async () => {
  mock.method(globalThis, "fetch", async () => {
    throw new TypeError("Failed to fetch");
  });
  await connect("http://host:8765/");
  assert.equal(connection.link.text, "Connection lost, reconnecting …");
  mock.restoreAll();
  sessions(200, "hall");
  await pass(250);
  assert.equal(FakeSocket.all.length, 1);
});

test("hope shortens the wait, and nothing else", async () => {
  await connect();
  connection.retry();
  await settle();
  assert.equal(FakeSocket.all.length, 1);
  FakeSocket.last.drop(4404);
  connection.retry();
  await settle();
  assert.equal(FakeSocket.all.length, 2);
  await pass(5_000);
  assert.equal(FakeSocket.all.length, 2);
});

test("a session that is gone makes room for another one, a lost line does not", async () => {
  sessions(200, "hall");
  await connect("http://host:8765/");
  mock.restoreAll();
  sessions(200, "stage");
  FakeSocket.last.drop(1006);
  await pass(250);
  assert.match(FakeSocket.last.url.pathname, /hall/);
  FakeSocket.last.drop(4404);
  await pass(5_000);
  assert.match(FakeSocket.last.url.pathname, /stage/);
});
