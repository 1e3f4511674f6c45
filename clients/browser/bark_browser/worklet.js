/* The jitter buffer, in the audio thread: PCM in as the network brings it, a steady stream out.
 *
 * It starts once START_MS are there. When it runs dry in mid-sentence it fades out, waits for more than last time and
 * fades in again; a pause between sentences is no such gap. Knows no wire format and no page.
 *
 *   in   {type: "begin", turn}   {type: "push", turn, pcm, startsSentence}   {type: "end", turn}   {type: "stop"}
 *   out  {type: "state", turn, played, buffered, gaps, rms, isPlaying}   {type: "finished" | "stopped", turn, played}
 */

const START_MS = 80;
const GROWTH_MS = 40;
const MAX_START_MS = 400;
const FADE_MS = 5;
const REPORT_MS = 20;

class BarkPlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    const inSamples = (ms) => Math.round((ms * sampleRate) / 1000);
    this.start = inSamples(START_MS);
    this.growth = inSamples(GROWTH_MS);
    this.maxStart = inSamples(MAX_START_MS);
    this.reportEvery = inSamples(REPORT_MS);
    this.fadeSamples = inSamples(FADE_MS);
    this.sinceReport = 0;
    this.energy = 0;
    this.reset(null);
    this.port.onmessage = (event) => this.receive(event.data);
  }

  reset(turn) {
    this.turn = turn;
    this.blocks = [];
    this.offset = 0; // into the first block
    this.buffered = 0;
    this.played = 0;
    this.gaps = 0;
    this.gain = 0;
    this.isPlaying = false;
    this.isDry = false;
    this.hasEnded = false;
    this.isStopping = false;
  }

  receive(message) {
    if (message.type === "begin") {
      this.reset(message.turn);
    } else if (message.turn === this.turn && message.type === "push" && !this.isStopping) {
      if (this.isDry && !message.startsSentence) {
        this.gaps += 1;
        this.start = Math.min(this.maxStart, this.start + this.growth);
      }
      this.isDry = false;
      this.blocks.push(message.pcm);
      this.buffered += message.pcm.length;
    } else if (message.turn === this.turn && message.type === "end") {
      this.hasEnded = true;
    } else if (message.type === "stop") {
      this.isStopping = true;
    }
  }

  process(_inputs, outputs) {
    const output = outputs[0][0];
    if (!this.isPlaying && !this.isStopping && (this.buffered >= this.start || (this.hasEnded && this.buffered > 0))) {
      this.isPlaying = true;
    }
    if (this.isPlaying) this.fill(output);
    this.settle();
    this.report(output);
    return true;
  }

  fill(output) {
    const step = 1 / this.fadeSamples;
    for (let index = 0; index < output.length && this.buffered > 0; index += 1) {
      // Fade out before the last sample, not after it.
      const isRunningDry = !this.hasEnded && this.buffered <= this.fadeSamples;
      const isFading = this.isStopping || isRunningDry;
      this.gain = isFading ? Math.max(0, this.gain - step) : Math.min(1, this.gain + step);
      if (this.isStopping && this.gain === 0) return;
      output[index] = this.blocks[0][this.offset] * this.gain;
      this.energy += output[index] * output[index];
      this.advance();
    }
  }

  advance() {
    this.offset += 1;
    this.buffered -= 1;
    this.played += 1;
    if (this.offset === this.blocks[0].length) {
      this.blocks.shift();
      this.offset = 0;
    }
  }

  /** See whether something has come to its end. */
  settle() {
    if (this.turn === null) return;
    if (this.isStopping && (this.gain === 0 || this.buffered === 0 || !this.isPlaying)) {
      this.leave("stopped");
    } else if (this.hasEnded && this.buffered === 0) {
      this.leave("finished");
    } else if (this.isPlaying && this.buffered === 0) {
      this.isPlaying = false;
      this.isDry = true;
      this.gain = 0;
    }
  }

  leave(how) {
    this.port.postMessage({ type: how, turn: this.turn, played: this.played });
    this.reset(null);
  }

  report(output) {
    this.sinceReport += output.length;
    if (this.sinceReport < this.reportEvery) return;
    this.port.postMessage({
      type: "state",
      turn: this.turn,
      played: this.played,
      buffered: this.buffered,
      gaps: this.gaps,
      rms: Math.sqrt(this.energy / this.sinceReport),
      isPlaying: this.isPlaying,
    });
    this.sinceReport = 0;
    this.energy = 0;
  }
}

registerProcessor("bark-player", BarkPlayer);
