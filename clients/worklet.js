// Runs on the browser's audio thread: samples in, 40 ms frames of s16le out.

class Framer extends AudioWorkletProcessor {
  #frame;
  #filled = 0; // samples

  constructor({ processorOptions: { frameSamples } }) {
    super();
    this.#frame = new DataView(new ArrayBuffer(2 * frameSamples));
  }

  process([[channel]]) {
    for (const sample of channel ?? []) this.#push(sample);
    return true;
  }

  #push(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    this.#frame.setInt16(2 * this.#filled, Math.round(clipped * 32_767), true);
    this.#filled += 1;
    if (2 * this.#filled === this.#frame.byteLength) this.#send();
  }

  #send() {
    const { buffer, byteLength } = this.#frame;
    this.port.postMessage(buffer, [buffer]);
    this.#frame = new DataView(new ArrayBuffer(byteLength));
    this.#filled = 0;
  }
}

registerProcessor("framer", Framer);
