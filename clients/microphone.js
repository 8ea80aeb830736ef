// This device's microphone as a session's source. See README.md for the wire.

import { Place, Trouble, backoff } from "./connection.js";

const FRAME_MS = 40;
const MAX_RATE = 48_000; // Hz, what the server takes
const MAX_QUEUE_S = 2; // sound that may wait for a slow network; what comes after it is dropped, and that is told
const FINISH_MS = 10_000; // longest wait for the last words
const NEW_SESSION = "default"; // where none is running yet

const DENIED = {
  NotAllowedError: "The microphone was not permitted. Allow it for this page in the browser’s settings, then try again.",
  NotFoundError: "No microphone was found on this device.",
  NotReadableError: "The microphone can’t be opened; another program may be using it.",
};
const INSECURE =
  "This browser lends its microphone only to pages that come over https, or from this very machine " +
  "(http://localhost). Captions can still be read here.";
const REFUSED = {
  1008: (reason) => `The server refused the microphone: ${reason || "see its log"}`,
  4409: (reason) => (reason === "taken over" ? "Another source has taken over." : "This session has a source already."),
  4429: () => "The server has no room for another session.",
};

/** A microphone, its clock and a socket. `changed({state, text, takeover})`: state is off, busy or on. */
class Microphone {
  #changed;
  #place = new Place(location);
  #context = null; // null: off
  #stream = null;
  #socket = null;
  #attempts = 0;
  #wasOpen = false;
  #slow = false;
  #retrying = null;
  #finishing = null;

  constructor(changed) {
    this.#changed = changed;
  }

  get isOff() {
    return this.#context === null;
  }

  async start({ takeover = false } = {}) {
    if (!globalThis.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
      this.#tell("off", INSECURE);
      return;
    }
    this.#tell("busy", "Asking for the microphone …");
    const context = (this.#context = openContext()); // before the first await: some browsers want it in the click itself
    try {
      const stream = await openStream();
      if (context !== this.#context) return letGo(stream); // stopped meanwhile
      this.#stream = stream;
      stream.getTracks()[0].onended = () => this.#off("The microphone was unplugged or taken away.");
      await this.#wire(context, stream);
      await this.#find();
    } catch (error) {
      if (context === this.#context) this.#off(DENIED[error.name] ?? `The microphone can’t be used: ${error.message}`);
      return;
    }
    if (context === this.#context) this.#connect(takeover);
  }

  /** Let the server finish what was said, then let go. */
  stop() {
    if (this.#finishing !== null || this.#socket?.readyState !== WebSocket.OPEN) {
      this.#off("");
      return;
    }
    this.#socket.send('{"type":"end"}');
    this.#finishing = setTimeout(() => this.#off(""), FINISH_MS);
    this.#release();
    this.#tell("busy", "Waiting for the last words …");
  }

  async #wire(context, stream) {
    await context.audioWorklet.addModule("/clients/worklet.js");
    await context.resume();
    const frameSamples = Math.round((context.sampleRate * FRAME_MS) / 1_000);
    const options = { channelCount: 1, channelCountMode: "explicit", processorOptions: { frameSamples } };
    const framer = new AudioWorkletNode(context, "framer", options);
    framer.port.onmessage = ({ data }) => this.#send(data);
    context.createMediaStreamSource(stream).connect(framer);
    framer.connect(context.destination); // silent; a node that leads nowhere may not be run
  }

  async #find() {
    try {
      await this.#place.find();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.#place.name = NEW_SESSION;
    }
  }

  #connect(takeover) {
    const params = { rate: this.#context.sampleRate, format: "s16le", events: 0, takeover: takeover ? 1 : null };
    const socket = new WebSocket(this.#place.url("audio", { scheme: "ws", ...params }));
    this.#socket = socket;
    socket.onopen = () => socket === this.#socket && this.#opened();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#closed(code, reason);
  }

  #opened() {
    this.#attempts = 0;
    this.#wasOpen = true;
    this.#tellOn();
    dispatchEvent(new Event("session-fed"));
  }

  #hear(message) {
    if (message.type === "ended" && this.#finishing !== null) this.#off("");
  }

  #closed(code, reason) {
    if (this.#finishing !== null) this.#off("");
    else if (REFUSED[code]) this.#off(REFUSED[code](reason), code === 4409);
    else {
      this.#tell("busy", "Connection lost, reconnecting. What is said meanwhile is not heard.");
      // The server may not have noticed yet that the lost connection is lost: what is taken over is one's own.
      this.#retrying = setTimeout(() => this.#connect(this.#wasOpen), backoff(this.#attempts++));
    }
  }

  #send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#finishing !== null) return;
    const slow = this.#socket.bufferedAmount > MAX_QUEUE_S * 2 * this.#context.sampleRate;
    if (!slow) this.#socket.send(frame);
    if (slow === this.#slow) return;
    this.#slow = slow;
    this.#tellOn();
  }

  #tellOn() {
    const label = this.#stream.getTracks()[0].label || "this device’s microphone";
    this.#tell("on", this.#slow ? "The network is too slow: some of what is said is not heard." : `Listening to ${label}`);
  }

  #off(text, takeover = false) {
    this.#release();
    clearTimeout(this.#retrying);
    clearTimeout(this.#finishing);
    const socket = this.#socket;
    this.#socket = this.#context = this.#finishing = null;
    this.#wasOpen = this.#slow = false;
    socket?.close();
    this.#tell("off", text, takeover);
  }

  #release() {
    if (this.#stream) letGo(this.#stream);
    this.#stream = null;
    if (this.#context && this.#context.state !== "closed") this.#context.close();
  }

  #tell(state, text, takeover = false) {
    this.#changed({ state, text, takeover });
  }
}

function openContext() {
  const native = new AudioContext();
  if (native.sampleRate <= MAX_RATE) return native;
  native.close();
  return new AudioContext({ sampleRate: MAX_RATE });
}

function openStream() {
  // No echo cancelling and no denoising: both make recognition worse.
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
  return navigator.mediaDevices.getUserMedia({ audio });
}

function letGo(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}

const button = document.getElementById("microphone");
const takeoverButton = document.getElementById("takeover");
const told = document.getElementById("microphone-status");
const idle = button.textContent;

const microphone = new Microphone(({ state, text, takeover }) => {
  button.textContent = state === "off" ? idle : "Stop the microphone";
  button.dataset.state = state;
  takeoverButton.hidden = !takeover;
  if (told.textContent !== text) told.textContent = text;
});

button.addEventListener("click", () => (microphone.isOff ? microphone.start() : microphone.stop()));
takeoverButton.addEventListener("click", () => microphone.start({ takeover: true }));
