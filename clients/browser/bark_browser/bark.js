/* bark-stream in the browser: a client, a player, and the page that uses them. One module, no build step.
 *
 *   const client = new BarkClient("ws://localhost:8765/v1/stream");
 *   const player = await Player.create(24000);
 *   const turn = new Turn(client, player, { voice: "…" });
 *   turn.say("Good evening."); turn.finish();          // … turn.stop() interrupts
 *
 * The client speaks the wire protocol (clients/README.md) and comes back by itself when the socket breaks. The player
 * owns the sound. The page at the end of the file is one use of them; it runs where an element #bark is.
 */

export const PROTOCOL = "bark-stream.v1";
const HEADER_BYTES = 16;
const LAST_OF_CONTEXT = 1;
const FIRST_OF_SENTENCE = 2;
const MAX_TEXT_CHARACTERS = 8000; // of one message; keeps it below the 64 KiB that a frame may have
const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5000;

// ---------------------------------------------------------------------------------------------------------------------
// The wire

/** Read one audio frame. Returns null for a version that is not ours. */
export function readPacket(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint8(0) !== 1) return null;
  const flags = view.getUint8(1);
  return {
    stream: view.getUint32(4, true),
    sequence: view.getUint32(8, true),
    timestamp: view.getUint32(12, true),
    payload: new Uint8Array(buffer, HEADER_BYTES),
    isLast: (flags & LAST_OF_CONTEXT) !== 0,
    startsSentence: (flags & FIRST_OF_SENTENCE) !== 0,
  };
}

/** One context: what was said in it and what has come back. Made by `BarkClient.open`. */
class Context {
  constructor(client, options, listener) {
    this.client = client;
    this.name = options.context;
    this.options = options;
    this.listener = listener;
    this.text = "";
    this.flushedAt = []; // lengths of the text, in characters
    this.isClosed = false;
    this.cancelled = null;
    this.isOver = false;
    this.isDoubtful = false; // the server may never have heard of it: what is said is kept for `replay`
    this.wasSent = false;
    this.opened = null;
    this.lastSequence = -1;
    this.known = new Set(); // captions that were handed over
  }

  send(text) {
    if (!text || this.isOver || this.cancelled || this.isClosed) return;
    this.text += text;
    this.transmit(textMessages(this.name, text));
  }

  flush() {
    if (this.isOver || this.cancelled || this.isClosed) return;
    this.flushedAt.push([...this.text].length);
    this.transmit([{ type: "flush", context: this.name }]);
  }

  close() {
    if (this.isOver || this.cancelled || this.isClosed) return;
    this.isClosed = true;
    this.transmit([{ type: "close", context: this.name }]);
  }

  /** Stop at once; no packet is handed over any more. */
  cancel(playedMs) {
    if (this.isOver || this.cancelled) return;
    this.cancelled = { type: "cancel", context: this.name, played_ms: Math.round(playedMs) };
    this.transmit([this.cancelled]);
  }

  played(playedMs) {
    if (this.isOver || this.cancelled) return;
    this.transmit([{ type: "played", context: this.name, played_ms: Math.round(playedMs) }]);
  }

  /** Everything from where the server stands; `progress` is undefined when it knows nothing of this context. */
  replay(progress) {
    const name = this.name;
    const characters = [...this.text];
    const messages = progress ? [] : [this.options];
    let position = progress ? progress.text_characters : 0;
    for (const flushedAt of this.flushedAt) {
      if (flushedAt < position) continue; // text behind it has arrived, so the flush has
      messages.push(...textMessages(name, characters.slice(position, flushedAt).join("")));
      messages.push({ type: "flush", context: name });
      position = flushedAt;
    }
    messages.push(...textMessages(name, characters.slice(position).join("")));
    if (this.cancelled) messages.push(this.cancelled);
    else if (this.isClosed && !(progress && progress.closed)) messages.push({ type: "close", context: name });
    return messages;
  }

  transmit(messages) {
    if (!this.isDoubtful) this.client.transmit(messages);
  }

  tell(event, value) {
    if (this.listener[event]) this.listener[event](value);
  }
}

function textMessages(context, text) {
  const characters = [...text];
  const messages = [];
  for (let start = 0; start < characters.length; start += MAX_TEXT_CHARACTERS) {
    messages.push({ type: "text", context, text: characters.slice(start, start + MAX_TEXT_CHARACTERS).join("") });
  }
  return messages;
}

/** A connection to a server, kept up until `disconnect`.
 *
 * `onstate(state, client)` hears "connecting", "ready", "away", "closed"; `onerror(message)` what belongs to no context.
 */
export class BarkClient {
  constructor(url, { key = "", onstate = () => {}, onerror = () => {} } = {}) {
    this.url = url;
    this.key = key;
    this.onstate = onstate;
    this.onerror = onerror;
    this.ready = null;
    this.contexts = new Map();
    this.streams = new Map();
    this.numOpened = 0;
    this.numTries = 0;
    this.socket = null;
    this.isRestored = false;
    this.isWanted = true;
    this.connect();
    // A socket from before the network came back may look alive for minutes.
    this.renewed = () => this.renew();
    window.addEventListener("online", this.renewed);
  }

  /** Start a turn. `listener` may have: opened, packet, sentence, words, done, cancelled, error. */
  open(options, listener) {
    this.numOpened += 1;
    const wanted = Object.entries(options).filter(([, value]) => value !== undefined && value !== "");
    const message = { type: "open", context: `web-${this.numOpened}`, ...Object.fromEntries(wanted) };
    const context = new Context(this, message, listener);
    this.contexts.set(context.name, context);
    context.wasSent = this.isRestored;
    this.transmit([message]);
    return context;
  }

  disconnect() {
    this.isWanted = false;
    clearTimeout(this.retry);
    window.removeEventListener("online", this.renewed);
    this.socket.close(1000);
  }

  /** Give the socket up for a new one. */
  renew() {
    clearTimeout(this.retry);
    this.isRestored = false;
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.close();
    this.connect();
  }

  /** Send now, if there is somebody to send to; what is not sent is made up for by `restore`. */
  transmit(messages) {
    if (!this.isRestored) return;
    for (const message of messages) this.socket.send(JSON.stringify(message));
  }

  connect() {
    this.onstate("connecting", this);
    const protocols = this.key ? [PROTOCOL, `bearer.${this.key}`] : [PROTOCOL];
    const session = this.ready ? this.ready.session : null;
    let isResuming = false;
    const socket = new WebSocket(this.url, protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return this.receivePacket(readPacket(data));
      const message = JSON.parse(data);
      if (message.type === "ready" && !this.isRestored) {
        if (session && !isResuming && this.hasSentContexts) {
          isResuming = true;
          this.pendingReady = message;
          socket.send(JSON.stringify(this.resumeMessage(session)));
        } else {
          this.restore(message);
        }
      } else if (message.type === "error" && message.code === "resume_expired") {
        this.restore(this.pendingReady);
      } else {
        this.receive(message);
      }
      return undefined;
    };
    socket.onclose = () => this.lose(socket);
  }

  get hasSentContexts() {
    return [...this.contexts.values()].some((context) => context.wasSent);
  }

  resumeMessage(session) {
    const sent = [...this.contexts.values()].filter((context) => context.wasSent);
    return {
      type: "resume",
      session,
      received: Object.fromEntries(sent.map((context) => [context.name, context.lastSequence])),
    };
  }

  /** Go on over a new socket. */
  restore(ready) {
    this.ready = ready;
    this.isRestored = true;
    this.numTries = 0;
    for (const context of [...this.contexts.values()]) {
      if (!context.wasSent) this.transmit(context.replay());
      else if (!ready.resumed) this.end(context, "error", { code: "resume_expired", message: "the server has moved on" });
      else if (ready.contexts && ready.contexts[context.name]) {
        context.isDoubtful = false;
        this.transmit(context.replay(ready.contexts[context.name]));
      } else if (ready.contexts && !context.opened) {
        this.transmit([{ type: "flush", context: context.name }]); // is it over, or was it never heard of?
        context.isDoubtful = true;
      }
      context.wasSent = true;
    }
    this.onstate("ready", this);
  }

  lose(socket) {
    if (socket !== this.socket) return;
    this.isRestored = false;
    if (!this.isWanted) {
      this.onstate("closed", this);
      return;
    }
    this.onstate("away", this);
    const delay = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.numTries);
    this.numTries += 1;
    this.retry = setTimeout(() => this.connect(), delay * (1 - Math.random() / 4));
  }

  receivePacket(packet) {
    const context = packet && this.streams.get(packet.stream);
    if (!context || packet.sequence <= context.lastSequence) return;
    context.lastSequence = packet.sequence;
    if (!context.cancelled) context.tell("packet", packet);
  }

  receive(message) {
    const context = this.contexts.get(message.context);
    if (!context) {
      if (message.type === "error" && !message.context) this.onerror(message);
      return;
    }
    if (message.type === "opened") {
      if (context.opened) return;
      context.opened = message;
      this.streams.set(message.stream, context);
      context.tell("opened", message);
    } else if (message.type === "sentence" || message.type === "words") {
      // After a resume a caption may come a second time.
      const start = message.type === "words" && message.words.length ? message.words[0].start_ms : "";
      const mark = `${message.type} ${message.index} ${start}`;
      if (!context.known.has(mark)) context.tell(message.type, message);
      context.known.add(mark);
    } else if (message.type === "done" || message.type === "cancelled") {
      this.end(context, message.type, message);
    } else if (message.type === "error") {
      this.receiveError(context, message);
    }
  }

  receiveError(context, message) {
    if (message.code === "unknown_context" && context.isDoubtful && !context.opened) {
      context.isDoubtful = false;
      this.transmit(context.replay());
    } else if (message.code === "unknown_context" || !context.opened) {
      this.end(context, "error", message);
    } else if (!context.cancelled && !(message.code === "context_closed" && context.isClosed)) {
      context.tell("error", message);
    }
  }

  end(context, event, message) {
    context.isOver = true;
    this.contexts.delete(context.name);
    if (context.opened) this.streams.delete(context.opened.stream);
    context.tell(event, message);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Packets to sound

/** Whether this browser decodes Opus packets; where it does not, ask the server for PCM. */
export async function canDecodeOpus(sampleRate) {
  if (typeof AudioDecoder === "undefined") return false;
  try {
    const config = { codec: "opus", sampleRate, numberOfChannels: 1 };
    return (await AudioDecoder.isConfigSupported(config)).supported === true;
  } catch {
    return false;
  }
}

/** Opus through WebCodecs. `onpcm(pcm, startsSentence)` gets Float32Arrays at `sampleRate`, in order. */
class OpusPackets {
  constructor({ sampleRate, preSkip, onpcm, onerror }) {
    this.sampleRate = sampleRate;
    this.toSkip = preSkip;
    this.onpcm = onpcm;
    this.starts = []; // of packets that are being decoded
    this.decoder = new AudioDecoder({ output: (data) => this.take(data), error: onerror });
    this.decoder.configure({ codec: "opus", sampleRate, numberOfChannels: 1 });
  }

  push(packet) {
    if (this.decoder.state !== "configured") return;
    this.starts.push(packet.startsSentence);
    const timestamp = Math.round((packet.timestamp * 1e6) / this.sampleRate);
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: packet.payload }));
  }

  async flush() {
    if (this.decoder.state === "configured") await this.decoder.flush();
  }

  close() {
    if (this.decoder.state !== "closed") this.decoder.close();
  }

  take(data) {
    const raw = new Float32Array(data.numberOfFrames);
    data.copyTo(raw, { planeIndex: 0, format: "f32-planar" });
    const rate = data.sampleRate;
    data.close();
    // Some browsers decode Opus at 48 kHz whatever was asked for.
    const pcm = rate === this.sampleRate ? raw : resample(raw, rate / this.sampleRate);
    const skipped = Math.min(this.toSkip, pcm.length);
    this.toSkip -= skipped;
    this.onpcm(pcm.subarray(skipped), this.starts.shift() === true);
  }
}

/** 16-bit PCM, for browsers without WebCodecs. */
class PcmPackets {
  constructor({ onpcm }) {
    this.onpcm = onpcm;
  }

  push({ payload, startsSentence }) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const pcm = new Float32Array(payload.byteLength >> 1);
    for (let index = 0; index < pcm.length; index += 1) pcm[index] = view.getInt16(2 * index, true) / 32768;
    this.onpcm(pcm, startsSentence);
  }

  async flush() {}

  close() {}
}

/** Take every `step`-th sample. The signal ends far below the new rate's half: nothing can fold back. */
function resample(pcm, step) {
  const result = new Float32Array(Math.floor(pcm.length / step));
  for (let index = 0; index < result.length; index += 1) result[index] = pcm[Math.floor(index * step)];
  return result;
}

/** The loudspeaker behind the jitter buffer. Turns are heard one after the other. */
export class Player {
  /** Needs a page from https or localhost; browsers give audio worklets to no other. Call it on a click or a key. */
  static async create(sampleRate) {
    if (typeof AudioWorkletNode === "undefined" || !window.isSecureContext) {
      throw new Error("This browser plays live sound only on pages from https:// or localhost.");
    }
    const audio = new AudioContext({ sampleRate, latencyHint: "interactive" });
    await audio.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    return new Player(audio);
  }

  constructor(audio) {
    this.audio = audio;
    this.queue = []; // of turns; the first is being heard
    this.onstate = () => {};
    this.node = new AudioWorkletNode(audio, "bark-player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.connect(audio.destination);
    this.node.port.onmessage = ({ data }) => this.receive(data);
  }

  get sampleRate() {
    return this.audio.sampleRate;
  }

  async wake() {
    if (this.audio.state !== "running") await this.audio.resume();
  }

  add(turn) {
    this.queue.push(turn);
    if (this.queue.length === 1) this.begin();
  }

  push(turn, pcm, startsSentence) {
    if (!pcm.length) return;
    if (turn === this.queue[0]) this.post({ type: "push", turn: turn.id, pcm, startsSentence }, [pcm.buffer]);
    else turn.waiting.push([pcm, startsSentence]);
  }

  end(turn) {
    if (turn === this.queue[0]) this.post({ type: "end", turn: turn.id });
  }

  /** Silence at once; resolves with the turns that were stopped, the first of them partly heard. */
  stop() {
    if (!this.queue.length) return Promise.resolve([]);
    if (this.audio.state !== "running") {
      this.post({ type: "begin", turn: null });
      return Promise.resolve(this.queue.splice(0));
    }
    this.stopping ??= new Promise((resolve) => {
      this.onstopped = resolve;
    });
    this.post({ type: "stop" });
    return this.stopping;
  }

  begin() {
    const turn = this.queue[0];
    this.post({ type: "begin", turn: turn.id });
    for (const [pcm, startsSentence] of turn.waiting.splice(0)) this.push(turn, pcm, startsSentence);
    if (turn.hasEnded) this.end(turn);
  }

  receive(message) {
    const turn = this.queue[0];
    if (message.type === "state") {
      if (turn && message.turn === turn.id) this.report(turn, message.played);
      this.onstate(message);
    } else if (turn && message.turn === turn.id) {
      this.report(turn, message.played);
      if (message.type === "finished") {
        this.queue.shift();
        turn.finished();
      }
      if (this.stopping) {
        this.stopping = null;
        this.onstopped(this.queue.splice(0));
      } else if (this.queue.length) {
        this.begin();
      }
    }
  }

  /** What has left the loudspeaker is a little less than what has been handed to it. */
  report(turn, played) {
    const latency = (this.audio.outputLatency || this.audio.baseLatency || 0) * this.sampleRate;
    turn.advance(Math.max(0, ((played - latency) * 1000) / this.sampleRate), played > 0);
  }

  post(message, transfer = []) {
    this.node.port.postMessage(message, transfer);
  }
}

let numTurns = 0;

/** A context that is heard: text in, sound out. `listener` gets the context's events and progress, first, finished. */
export class Turn {
  constructor(client, player, options, listener = {}) {
    numTurns += 1;
    this.id = numTurns;
    this.player = player;
    this.listener = listener;
    this.waiting = []; // sound, until it is this turn's time
    this.hasEnded = false;
    this.playedMs = 0;
    this.reportedMs = 0;
    this.isStopped = false;
    this.packets = null;
    this.sends = []; // when how much text had been sent, until the first sentence comes
    this.numCharacters = 0;
    this.context = client.open(options, {
      opened: (opened) => this.prepare(opened),
      packet: (packet) => this.packets && this.packets.push(packet),
      sentence: (caption) => this.begin(caption),
      words: (caption) => this.tell("words", caption),
      done: (done) => this.end("done", done),
      cancelled: (cancelled) => this.tell("cancelled", cancelled),
      error: (error) => (this.context.isOver ? this.end("error", error) : this.tell("error", error)),
    });
    player.add(this);
  }

  say(text) {
    this.numCharacters += text.length;
    this.noteTime();
    this.context.send(text);
  }

  /** No more text: speak the rest. */
  finish() {
    if (!this.context.isClosed) this.noteTime();
    this.context.close();
  }

  /** The server is told that nobody listens any more; the player is silent already. */
  stop() {
    this.isStopped = true;
    this.context.cancel(this.playedMs);
    if (this.packets) this.packets.close();
  }

  noteTime() {
    if (!this.saidAt) this.sends.push({ length: this.numCharacters, at: performance.now() });
  }

  /** The wait for the first sound begins with the text that made the first sentence whole: the first beyond its end. */
  begin(caption) {
    this.saidAt ??= (this.sends.find(({ length }) => length > caption.text.length) ?? this.sends.at(-1)).at;
    this.tell("sentence", caption);
  }

  prepare({ format, sample_rate: sampleRate, pre_skip: preSkip }) {
    const onpcm = (pcm, startsSentence) => !this.isStopped && this.player.push(this, pcm, startsSentence);
    const onerror = () => {
      this.end("error", { code: "decoder", message: "this browser could not decode the sound" });
      this.context.cancel(this.playedMs);
    };
    const Packets = format === "opus" ? OpusPackets : PcmPackets;
    this.packets = new Packets({ sampleRate, preSkip, onpcm, onerror });
  }

  async end(event, value) {
    this.tell(event, value);
    if (this.packets) await this.packets.flush().catch(() => {});
    this.hasEnded = true;
    if (!this.isStopped) this.player.end(this);
    if (this.packets) this.packets.close();
  }

  advance(playedMs, hasSounded) {
    this.playedMs = playedMs;
    if (hasSounded && !this.hasSounded) {
      this.hasSounded = true;
      this.tell("first", performance.now() - this.saidAt);
    }
    if (playedMs - this.reportedMs >= 1000) {
      this.reportedMs = playedMs;
      this.context.played(playedMs);
    }
    this.tell("progress", playedMs);
  }

  finished() {
    this.tell("finished");
  }

  tell(event, value) {
    if (this.listener[event]) this.listener[event](value);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The page

const MAX_SENTENCES = 60; // on the screen
const PAUSE_MS = 900; // without typing, after the end of a sentence
const SENTENCE_END = /[.!?…。！？]["'”’)\]]*\s*$/u;
const WORD_END = /[\s.,!?;:…。！？，；：]/u;

/** The part of `text` that can be sent while it is being typed: whole words. */
export function wholeWords(text) {
  let end = text.length;
  while (end > 0 && !WORD_END.test(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

/** Sentences on the screen; the one that is heard is lit, word by word where the server tells. */
class Captions {
  constructor(element) {
    this.element = element;
    this.sentences = []; // on the screen, of all turns
  }

  add(turn, { index, text, start_ms: startMs }) {
    const element = document.createElement("p");
    element.textContent = text.trim();
    this.element.append(element);
    this.sentences.push({ turn, index, text: text.trim(), startMs, element, words: [], cursor: 0 });
    while (this.sentences.length > MAX_SENTENCES) this.sentences.shift().element.remove();
  }

  addWords(turn, { index, words }) {
    const sentence = this.sentences.find((candidate) => candidate.turn === turn && candidate.index === index);
    for (const word of sentence ? words : []) {
      const found = sentence.text.indexOf(word.text, sentence.cursor);
      if (found < 0) continue;
      const element = document.createElement("span");
      element.textContent = word.text;
      const before = document.createTextNode(sentence.text.slice(sentence.cursor, found));
      sentence.cursor = found + word.text.length;
      const rest = document.createTextNode(sentence.text.slice(sentence.cursor));
      sentence.element.lastChild.replaceWith(before, element, rest);
      sentence.words.push({ element, startMs: word.start_ms, endMs: word.end_ms });
    }
  }

  /** Follow the sound. */
  show(turn, playedMs) {
    const sentences = this.sentences.filter((sentence) => sentence.turn === turn);
    const current = sentences.filter((sentence) => sentence.startMs <= playedMs).at(-1);
    for (const sentence of sentences) {
      if (sentence === current && !sentence.element.classList.contains("now")) this.bringIntoView(sentence.element);
      mark(sentence.element, { now: sentence === current, heard: sentence !== current && sentence.startMs <= playedMs });
      for (const { element, startMs, endMs } of sentence.words) {
        mark(element, { now: startMs <= playedMs && playedMs < endMs, heard: endMs <= playedMs });
      }
    }
  }

  /** A turn is over: heard to the end, or stopped at `playedMs`. */
  settle(turn, playedMs, wasStopped) {
    for (const sentence of this.sentences.filter((candidate) => candidate.turn === turn)) {
      const wasReached = !wasStopped || sentence.startMs < playedMs;
      mark(sentence.element, { now: false, heard: wasReached, unheard: !wasReached });
      for (const { element, endMs } of sentence.words) {
        const wasHeard = !wasStopped || endMs <= playedMs;
        mark(element, { now: false, heard: wasHeard, unheard: wasReached && !wasHeard });
      }
    }
  }

  bringIntoView(element) {
    const top = element.offsetTop - (this.element.clientHeight - element.clientHeight) / 2;
    this.element.scrollTo({ top, behavior: calmly() ? "auto" : "smooth" });
  }
}

function mark(element, classes) {
  for (const [name, isOn] of Object.entries(classes)) element.classList.toggle(name, isOn);
}

const calmly = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The last seconds' loudness as bars; the newest is on the right. */
class LevelMeter {
  constructor(element) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.levels = new Array(72).fill(0);
    this.peak = 0;
    this.count = 0;
  }

  add(rms) {
    const decibels = rms > 0 ? Math.max(-60, 20 * Math.log10(rms)) : -60;
    this.peak = Math.max(this.peak, 1 + decibels / 60);
    this.count += 1;
    if (this.count % 3) return;
    this.levels.push(this.peak);
    this.levels.shift();
    this.element.setAttribute("aria-valuenow", String(Math.round(60 * this.peak - 60)));
    this.peak = 0;
    this.draw();
  }

  draw() {
    const { canvas, levels } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    const pitch = width / levels.length;
    const thickness = Math.max(scale, pitch * 0.5);
    levels.forEach((level, index) => {
      const length = Math.max(thickness, level * level * height);
      pen.globalAlpha = 0.25 + 0.75 * (index / levels.length);
      pen.beginPath();
      pen.roundRect(index * pitch, (height - length) / 2, thickness, length, thickness / 2);
      pen.fill();
    });
  }
}

class Page {
  constructor(root) {
    const find = (name) => root.querySelector(`#${name}`);
    this.root = root;
    this.text = find("text");
    this.voice = find("voice");
    this.typing = find("typing");
    this.speakButton = find("speak");
    this.stopButton = find("stop");
    this.status = find("status");
    this.format = find("format");
    this.key = find("key");
    this.readings = { first: find("first"), buffer: find("buffer"), gaps: find("gaps"), speed: find("speed") };
    this.captions = new Captions(find("captions"));
    this.meter = new LevelMeter(find("level"));
    this.sent = ""; // how much of the box is said or being said
    this.turn = null; // the one that takes text
    this.turns = []; // that are still heard, in order
    this.player = null;
    this.listen();
    this.connect();
    this.meter.draw();
  }

  listen() {
    this.text.addEventListener("input", (event) => !event.isComposing && this.typed());
    this.text.addEventListener("compositionend", () => this.typed());
    this.speakButton.addEventListener("click", () => this.speak());
    this.stopButton.addEventListener("click", () => this.stop());
    this.key.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.connect();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.speak();
      }
    });
    window.addEventListener("resize", () => this.meter.draw());
  }

  connect() {
    if (this.client) this.client.disconnect();
    const { protocol, host } = window.location;
    const url = `${protocol === "https:" ? "wss" : "ws"}://${host}/v1/stream`;
    try {
      this.client = new BarkClient(url, {
        key: this.key.value.trim(),
        onstate: (state, client) => client.isWanted && this.connection(state, client),
      });
    } catch {
      this.tell("error", "The key has characters that a key cannot have.");
    }
  }

  async connection(state, client) {
    if (state === "connecting" && client.numTries === 0) this.tell("waiting", "Connecting…");
    if (state === "away") this.tell("error", "No connection. Trying again…");
    if (state !== "ready") return;
    this.offer(client.ready.voices);
    try {
      await this.prepare(client.ready.sample_rate);
      if (this.turns.length) this.tell("speaking", "Speaking");
      else this.rest();
    } catch (problem) {
      this.tell("error", problem.message);
    }
  }

  offer(voices) {
    const chosen = this.voice.value;
    this.voice.replaceChildren(new Option("Default", ""), ...voices.map((name) => new Option(name, name)));
    this.voice.value = voices.includes(chosen) ? chosen : "";
  }

  async prepare(sampleRate) {
    if (this.player && this.player.sampleRate === sampleRate) return;
    const hasOpus = await canDecodeOpus(sampleRate);
    this.format.querySelector("[value=opus]").disabled = !hasOpus;
    if (!hasOpus) this.format.value = "pcm_s16le";
    this.player = await Player.create(sampleRate);
    this.player.onstate = (state) => this.follow(state);
  }

  /** Something was typed or pasted. */
  typed() {
    clearTimeout(this.pause);
    const value = this.text.value;
    // What was said stays said: after a change further up, only what follows the end is new.
    if (!value.startsWith(this.sent)) this.sent = value;
    if (!this.typing.checked) return;
    this.say(wholeWords(value.slice(this.sent.length)));
    if (this.turn && SENTENCE_END.test(value)) this.pause = setTimeout(() => this.speak(), PAUSE_MS);
  }

  /** Speak what is new in the box, or all of it when nothing is. */
  speak() {
    clearTimeout(this.pause);
    const value = this.text.value;
    if (!value.startsWith(this.sent)) this.sent = "";
    if (!this.turns.length && !value.slice(this.sent.length).trim()) this.sent = "";
    this.say(value.slice(this.sent.length));
    if (this.turn) this.turn.finish();
    this.turn = null;
  }

  say(text) {
    if (!this.player || !text || (!this.turn && !text.trim())) return;
    this.player.wake();
    this.sent += text;
    this.turn ??= this.start();
    this.turn.say(text);
  }

  start() {
    const options = { voice: this.voice.value, format: this.format.value };
    const turn = new Turn(this.client, this.player, options, {
      sentence: (caption) => this.captions.add(turn.id, caption),
      words: (caption) => this.captions.addWords(turn.id, caption),
      progress: (playedMs) => this.captions.show(turn.id, playedMs),
      first: (milliseconds) => this.read("first", `${Math.round(milliseconds)} ms`),
      done: ({ ttfa_ms: ttfa, rtf }) => this.done(ttfa, rtf),
      error: (error) => this.fail(turn, error),
      finished: () => this.leave(turn),
    });
    this.turns.push(turn);
    this.root.classList.add("speaking");
    this.stopButton.disabled = false;
    this.tell("speaking", "Speaking");
    return turn;
  }

  async stop() {
    clearTimeout(this.pause);
    if (!this.turns.length) return;
    const turns = this.turns.splice(0);
    this.turn = null;
    this.sent = this.text.value;
    await this.player.stop();
    for (const turn of turns) {
      turn.stop();
      this.captions.settle(turn.id, turn.playedMs, true);
    }
    this.rest("Stopped");
  }

  done(ttfaMs, rtf) {
    const parts = [];
    if (typeof ttfaMs === "number") parts.push(`${Math.round(ttfaMs)} ms`);
    if (typeof rtf === "number") parts.push(`${rtf.toFixed(2)} × real time`);
    this.read("speed", parts.join(", ") || "–");
  }

  fail(turn, error) {
    if (turn === this.turn && turn.context.isOver) this.turn = null;
    const said = { overloaded: "The server is busy. Try again in a moment.", resume_expired: "The connection broke." };
    this.notice = said[error.code] || `Not spoken: ${error.message}`;
    this.tell("error", this.notice);
  }

  leave(turn) {
    this.captions.settle(turn.id, turn.playedMs, false);
    this.turns = this.turns.filter((other) => other !== turn);
    if (turn === this.turn) this.turn = null;
    if (!this.turns.length) this.rest(this.notice);
  }

  /** Nothing is heard any more. */
  rest(text) {
    if (this.turns.length) return;
    this.notice = undefined;
    this.root.classList.remove("speaking");
    this.stopButton.disabled = true;
    this.read("buffer", "–");
    this.tell("idle", text || "Ready");
  }

  /** The loudspeaker tells how it goes, some fifty times a second. */
  follow({ buffered, gaps, rms, isPlaying }) {
    this.meter.add(rms);
    this.numReports = (this.numReports || 0) + 1;
    if (!this.turns.length || this.numReports % 5) return;
    this.read("buffer", `${Math.round((buffered * 1000) / this.player.sampleRate)} ms`);
    this.read("gaps", String(gaps));
    this.root.dataset.playing = String(isPlaying);
  }

  read(name, text) {
    this.readings[name].textContent = text;
  }

  tell(kind, text) {
    this.root.dataset.state = kind;
    this.status.textContent = text;
  }
}

const root = document.querySelector("#bark");
if (root) new Page(root);
