// The annotator, on what canvas.js has. Every answer goes to Python at once, which keeps it or says
// why not; what is on the screen stays there either way.

const EMPTY = 254; // nothing was said of this pixel
const TOOLS = ["answer", "brush", "eraser", "superpixel", "fill"];
const SHOWN = 5; // likely classes, as buttons
const LAYERS = ["labels", "guess", "doubt", "picture"];
const KEYS =
  "1 to 9 answer with a likely class, space or e takes the guess, d the class that is chosen, q says unsure; " +
  "w skips, z takes back, x gives again. b brush, v eraser, g superpixel, f fill, a answers; , and . its size; " +
  "c finds a class by name, r and t choose the one before or after. Arrows move the cursor (Shift: by one pixel), " +
  "Enter uses the tool there, plus and minus zoom, 0 fits, l changes the layer, n and p the frame.";

// Pixels of a set as [start, length] runs.
function runs(pixels) {
  const sorted = Uint32Array.from(pixels).sort();
  const found = [];
  for (const at of sorted) {
    const last = found[found.length - 1];
    if (last && last[0] + last[1] === at) last[1] += 1;
    else found.push([at, 1]);
  }
  return found;
}

function* places(pixels) {
  for (const [start, length] of pixels) for (let at = start; at < start + length; at++) yield at;
}

class Annotator extends Look {
  constructor(model, element, signal) {
    super(model, element, signal);
    Object.assign(this, { tool: "answer", layer: "labels", chosen: 0, radius: 6, question: 0, call: 0 });
    Object.assign(this, { locked: new Set(), waiting: new Map(), ready: new Map(), skipped: new Set() });
    this.progress = { version: 0, asked: 0, done: 0, clicks: 0, seconds: 0 };
    this.build();
    this.listen("msg:custom", (content, buffers) => this.hear(content, buffers));
    this.look(this.get("start"));
  }

  // -- building ---------------------------------------------------------------------------------

  build() {
    const root = this.element;
    this.buildToolbar(make("div", { className: "toolbar" }, root));
    const middle = make("div", { className: "middle" }, root);
    const left = make("div", { className: "left" }, middle);
    this.stage = this.buildStage("Annotator, the frame", make("div", { className: "stages" }, left));
    this.mark = make("div", { className: "asked" }, this.stage.inner);
    this.ring = make("div", { className: "ring" }, this.stage.inner);
    this.buildClasses(make("fieldset", { className: "classes" }, middle));
    this.asks = make("p", { className: "asks" }, left, { role: "status", "aria-live": "polite" });
    this.options = make("p", { className: "tabs" }, left, { role: "group", "aria-label": "answers" });
    this.status = make("p", { className: "status" }, root);
    this.fault = make("p", { className: "fault", hidden: true }, root, { role: "alert" });
    const keys = make("p", { className: "keys", textContent: KEYS }, root);
    keys.id = `cityseg-keys-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    this.stage.box.setAttribute("aria-describedby", keys.id);
  }

  buildToolbar(bar) {
    const names = this.get("names");
    this.button(bar, "◀", "previous frame", () => this.step(-1));
    this.chooser = this.select(bar, "frame", names.map((name, k) => [k, name]), (k) => this.look(+k));
    this.button(bar, "▶", "next frame", () => this.step(1));
    const tools = make("span", { className: "tabs" }, bar, { role: "group", "aria-label": "tool" });
    this.tools = TOOLS.map((tool) => [tool, this.button(tools, tool, tool, () => this.take(tool))]);
    const label = make("label", { textContent: "size " }, bar);
    this.size = make("input", { type: "range", min: 0, max: 60, value: this.radius }, label);
    this.size.dataset.lmSuppressShortcuts = "true";
    this.on(this.size, "input", () => this.resizeBrush(+this.size.value));
    this.layers = this.select(bar, "layer", LAYERS.map((name) => [name, name]), (name) => this.showLayer(name));
    const palettes = Object.keys(this.get("palettes")).map((name) => [name, name]);
    this.palette = this.select(bar, "colours", palettes, () => this.showAll());
    this.button(bar, "take back", "take back the last answer", () => this.ask({ op: "undo" }));
    this.button(bar, "give again", "give again what was taken back", () => this.ask({ op: "redo" }));
    this.button(bar, "take the rest", "take the guess wherever nothing was said", () => this.takeRest());
  }

  buildClasses(field) {
    make("legend", { textContent: "classes" }, field);
    const label = make("label", { textContent: "find " }, field);
    this.search = make("input", { type: "search" }, label, { "aria-label": "find a class by name" });
    this.search.dataset.lmSuppressShortcuts = "true";
    this.on(this.search, "input", () => this.find());
    this.on(this.search, "keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      this.search.value = "";
      this.stage.box.focus({ preventScroll: true });
    });
    const list = make("ul", {}, field, { role: "group", "aria-label": "class to label with" });
    this.rows = [...this.get("classes"), "unsure"].map((name, row) => {
      const k = row === this.get("classes").length ? VOID : row;
      const line = make("li", {}, list);
      const choose = this.button(line, "", `label with ${name}`, () => this.choose(k));
      const swatch = make("span", { className: "swatch" }, choose, { "aria-hidden": "true" });
      make("span", { className: "name", textContent: name }, choose);
      const lock = make("label", { textContent: "lock " }, line);
      const check = make("input", { type: "checkbox" }, lock, { "aria-label": `lock ${name}` });
      check.dataset.lmSuppressShortcuts = "true";
      this.on(check, "change", () => (check.checked ? this.locked.add(k) : this.locked.delete(k)));
      return { k, name, choose, swatch };
    });
  }

  // -- to and from Python -----------------------------------------------------------------------

  ask(content) {
    this.call += 1;
    this.model.send({ index: this.frame.index, version: this.progress.version, call: this.call, ...content });
    return this.call;
  }

  look(index, ahead = false) {
    if (!ahead) this.wanted = index;
    const there = this.ready.get(index);
    if (there && !ahead) this.open(there);
    else this.ask({ op: "look", index, ahead });
  }

  async hear({ op, maps, ...content }, buffers) {
    if (op === "refused") return this.refuse(content);
    if (op === "saved") this.waiting.delete(content.call);
    if (!content.ahead && !this.waiting.size) {
      this.fault.textContent = content.warning;
      this.fault.hidden = !content.warning;
    }
    for (const name of Object.keys(this.progress)) if (name in content) this.progress[name] = content[name];
    for (const { answers } of this.waiting.values()) this.progress.version += answers.length; // on their way
    if (op === "saved") return this.showProgress();
    const parts = Object.fromEntries(maps.map((name, k) => [name, buffers[k]]));
    const [picture, labels, guess, doubt, segments] = await Promise.all([
      createImageBitmap(new Blob([parts.image])),
      ...["labels", "guess", "doubt", "segments"].map((name) => inflate(parts[name])),
    ]);
    const numbers = segments && new Uint16Array(segments.buffer);
    const frame = { ...content, picture, labels, guess, doubt, segments: numbers };
    if (content.ahead) {
      this.ready.clear(); // one is enough, and it is not yet answered
      this.ready.set(frame.index, frame);
    } else this.open(frame);
  }

  refuse({ message, stale, version }) {
    this.progress.version = version;
    this.fault.textContent = `${message} `;
    this.fault.hidden = false;
    const again = () => {
      const lost = [...this.waiting.values()];
      this.waiting.clear();
      if (stale) this.look(this.frame.index);
      else lost.forEach((content) => this.send(content));
    };
    this.button(this.fault, stale ? "look anew" : "try again", stale ? "look at the frame anew" : "try to save again", again);
  }

  open(frame) {
    const other = frame.index !== this.frame.index;
    const resized = frame.width !== this.frame.width || frame.height !== this.frame.height;
    this.frame = frame;
    this.wanted = frame.index;
    this.ready.delete(frame.index);
    this.resize(frame);
    if (resized) {
      this.fit();
      this.cursor = { x: frame.width >> 1, y: frame.height >> 1 };
    }
    if (other) {
      this.skipped.clear();
      this.set("start", frame.index); // where a page that is loaded anew begins
    }
    this.asked = performance.now();
    this.question = -1;
    this.showAll();
    this.nextQuestion();
    this.element.dataset.ready = String(frame.index);
    this.element.dataset.looks = String(+(this.element.dataset.looks ?? 0) + 1);
    const after = frame.index + 1;
    if (after < this.get("names").length) this.look(after, true);
  }

  // Say that pixels have a label: on the screen now, on the disk as soon as Python has it.
  say(answers, clicks = 1) {
    const given = answers.filter(({ pixels }) => pixels.length);
    if (!given.length) return;
    for (const { pixels, label } of given) {
      for (const at of places(pixels)) this.frame.labels[at] = label;
    }
    const seconds = (performance.now() - this.asked) / 1000;
    this.asked = performance.now();
    this.send({ op: "answer", answers: given, clicks, seconds, index: this.frame.index });
    this.paint();
  }

  send(content) {
    this.waiting.set(this.ask(content), content);
    this.progress.version += content.answers.length;
    this.showProgress();
  }

  // -- questions --------------------------------------------------------------------------------

  get current() {
    return this.frame.questions?.[this.question];
  }

  isOpen(k) {
    return !this.frame.answered[k] && !this.skipped.has(k);
  }

  nextQuestion() {
    const number = this.frame.questions?.length ?? 0;
    const open = [...Array(number).keys()].filter((k) => this.isOpen(k));
    this.question = open.find((k) => k > this.question) ?? open[0] ?? -1;
    const { pixels } = this.current ?? { pixels: [] };
    if (pixels.length) {
      const [start, length] = pixels[pixels.length >> 1];
      const at = start + (length >> 1);
      this.cursor = { x: at % this.frame.width, y: Math.floor(at / this.frame.width) };
    }
    this.outline();
    this.showQuestion();
    this.place();
  }

  answer(label) {
    if (!this.current) return;
    const { pixels } = this.current;
    this.frame.answered[this.question] = true;
    this.say([{ pixels, label }]);
    this.nextQuestion();
    if (!this.current) this.goOn();
  }

  // All of this frame is answered: on to the next one that is not.
  goOn() {
    if (this.frame.index + 1 < this.get("names").length) this.step(1);
  }

  skip() {
    if (!this.current) return this.goOn();
    this.skipped.add(this.question);
    this.nextQuestion();
    if (!this.current) this.goOn();
  }

  guessed() {
    const { guess, width } = this.frame;
    return this.current?.candidates?.[0] ?? guess?.[this.cursor.y * width + this.cursor.x];
  }

  // -- painting ---------------------------------------------------------------------------------

  // What a tool may change: not what has a locked class.
  free(at) {
    return !this.locked.has(this.frame.labels[at]);
  }

  dab({ x, y }) {
    const { width, height, labels } = this.frame;
    const label = this.tool === "eraser" ? EMPTY : this.chosen;
    const r = this.radius;
    const [top, bottom] = [Math.max(0, y - r), Math.min(height - 1, y + r)];
    for (let row = top; row <= bottom; row++) {
      const half = Math.floor(Math.sqrt(r * r - (row - y) ** 2));
      const end = row * width + Math.min(width - 1, x + half);
      for (let at = row * width + Math.max(0, x - half); at <= end; at++) {
        if (labels[at] === label || !this.free(at)) continue;
        this.stroke.add(at);
        labels[at] = label;
      }
    }
    this.paint({ left: Math.max(0, x - r), top, right: Math.min(width - 1, x + r), bottom });
  }

  press(event, pixel) {
    this.cursor = pixel;
    if (event.button !== 0) return;
    if (this.tool === "brush" || this.tool === "eraser") {
      this.stroke = new Set();
      this.last = pixel;
      this.dab(pixel);
    } else if (this.tool !== "answer") this.use();
  }

  drag(event, pixel) {
    if (!this.stroke) return false;
    // Pointers jump: every pixel on the way is painted, too.
    const steps = Math.max(Math.abs(pixel.x - this.last.x), Math.abs(pixel.y - this.last.y), 1);
    const by = Math.max(1, Math.floor(this.radius / 2));
    for (let k = Math.min(by, steps); k <= steps; k = k === steps ? steps + 1 : Math.min(k + by, steps)) {
      this.dab({
        x: Math.round(this.last.x + ((pixel.x - this.last.x) * k) / steps),
        y: Math.round(this.last.y + ((pixel.y - this.last.y) * k) / steps),
      });
    }
    this.last = pixel;
    this.point(pixel);
    return true;
  }

  release() {
    if (!this.stroke) return;
    const label = this.tool === "eraser" ? EMPTY : this.chosen;
    const pixels = runs(this.stroke);
    this.stroke = null;
    this.say([{ pixels, label }]);
  }

  // The tool at the cursor, by Enter or a click.
  use() {
    if (this.tool === "answer") return this.answer(this.chosen);
    if (this.tool === "superpixel") return this.say([{ pixels: runs(this.segment()), label: this.chosen }]);
    if (this.tool === "fill") return this.say([{ pixels: runs(this.region()), label: this.chosen }]);
    this.stroke = new Set();
    this.dab(this.cursor);
    this.release();
  }

  segment() {
    const { segments, width } = this.frame;
    const found = [];
    const wanted = segments?.[this.cursor.y * width + this.cursor.x];
    if (segments) segments.forEach((id, at) => id === wanted && this.free(at) && found.push(at));
    return found;
  }

  // What hangs together with the cursor's pixel and looks the same: as labelled, else as guessed.
  region() {
    const { labels, guess, width, height } = this.frame;
    const seen = (at) => (labels[at] === EMPTY && guess ? guess[at] : labels[at]);
    const first = this.cursor.y * width + this.cursor.x;
    const [wanted, visited, stack, found] = [seen(first), new Uint8Array(labels.length), [first], []];
    visited[first] = 1;
    while (stack.length) {
      const at = stack.pop();
      if (this.free(at)) found.push(at);
      const x = at % width;
      const near = [at - width, at + width];
      if (x > 0) near.push(at - 1);
      if (x < width - 1) near.push(at + 1);
      for (const next of near) {
        if (next < 0 || next >= width * height || visited[next]) continue;
        visited[next] = 1;
        if (seen(next) === wanted) stack.push(next);
      }
    }
    return found;
  }

  takeRest() {
    const { labels, guess } = this.frame;
    if (!guess) return;
    const by = new Map();
    labels.forEach((label, at) => {
      if (label !== EMPTY) return;
      if (!by.has(guess[at])) by.set(guess[at], []);
      by.get(guess[at]).push(at);
    });
    this.say([...by].map(([label, pixels]) => ({ pixels: runs(pixels), label })));
  }

  // -- showing ----------------------------------------------------------------------------------

  colors() {
    const table = new Uint32Array(256);
    this.get("palettes")[this.palette.value].forEach(([r, g, b], k) => {
      table[k] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    table[VOID] = 0xff000000;
    return table;
  }

  paint(part = null) {
    const { width, height, labels, guess, doubt } = this.frame;
    if (!labels) return;
    const { left, top, right, bottom } = part ?? { left: 0, top: 0, right: width - 1, bottom: height - 1 };
    const out = new Uint32Array(this.stage.pixels.data.buffer);
    this.table ??= this.colors();
    const map = { labels, guess }[this.layer];
    for (let y = top; y <= bottom; y++) {
      for (let at = y * width + left, end = y * width + right; at <= end; at++) {
        if (map) out[at] = this.table[map[at]];
        else if (this.layer === "doubt" && doubt) out[at] = ((doubt[at] << 24) | 0x0000d5ff) >>> 0;
        else out[at] = 0;
      }
    }
    const context = this.stage.over.getContext("2d");
    context.putImageData(this.stage.pixels, 0, 0, left, top, right - left + 1, bottom - top + 1);
    this.element.dataset.paints = String(+(this.element.dataset.paints ?? 0) + 1);
  }

  showLayer(name) {
    this.layer = name;
    this.layers.value = name;
    this.paint();
  }

  showAll() {
    this.table = this.colors();
    this.chooser.value = this.frame.index;
    this.stage.over.style.opacity = 0.6;
    for (const { k, choose, swatch } of this.rows) {
      const [r, g, b] = this.get("palettes")[this.palette.value][k] ?? [0, 0, 0];
      swatch.style.background = `rgb(${r}, ${g}, ${b})`;
      choose.setAttribute("aria-pressed", k === this.chosen);
    }
    for (const [tool, button] of this.tools) button.setAttribute("aria-pressed", tool === this.tool);
    this.paint();
    this.showProgress();
    this.place();
  }

  name(k) {
    return k === EMPTY ? "nothing" : k === VOID ? "unsure" : this.get("classes")[k];
  }

  showProgress() {
    const { asked, done, clicks, seconds } = this.progress;
    const parts = asked ? [`${done} of ${asked} questions`] : [];
    this.counted = [...parts, `${clicks} clicks`, `${seconds} s`].join(", ");
    this.element.dataset.saved = String(this.waiting.size === 0);
    this.point(this.cursor);
  }

  showQuestion() {
    this.options.replaceChildren();
    if (!this.current) {
      const none = this.frame.questions?.length ? "All questions about this frame are answered or skipped." : "";
      this.asks.textContent = none;
      return;
    }
    const likely = (this.current.candidates ?? []).slice(0, SHOWN);
    const what = this.current.pixels.length > 1 ? "the outlined part" : "the outlined pixel";
    const guess = likely.length ? `The guess: ${this.name(likely[0])}.` : "";
    this.asks.textContent = `What is ${what}? ${guess}`;
    likely.forEach((k, n) => this.option(n + 1, k));
    this.option("d", this.chosen);
    this.option("q", VOID);
    this.button(this.options, "w skip", "skip this question", () => this.skip());
  }

  option(key, k) {
    this.button(this.options, `${key} ${this.name(k)}`, `answer ${this.name(k)}`, () => {
      this.answer(k);
      this.stage.box.focus({ preventScroll: true });
    });
  }

  point({ x, y }) {
    this.cursor = { x, y };
    const { labels, guess, doubt, width } = this.frame;
    if (!labels) return;
    const at = y * width + x;
    const parts = [`x ${x}, y ${y}`, `said: ${this.name(labels[at])}`];
    if (guess) parts.push(`guess: ${this.name(guess[at])}`, `doubt: ${Math.round(doubt[at] / 2.55)} %`);
    parts.push(`label with ${this.name(this.chosen)}`, this.counted ?? "");
    this.status.textContent = parts.join("   ");
    this.place();
  }

  // The asked pixel's or superpixel's place, as a box around it that is seen at every zoom.
  outline() {
    const { width } = this.frame;
    const pixels = this.current?.pixels ?? [];
    this.mark.hidden = !pixels.length;
    if (!pixels.length) return;
    const rows = pixels.map(([start]) => Math.floor(start / width));
    const [left, right] = [
      Math.min(...pixels.map(([start]) => start % width)),
      Math.max(...pixels.map(([start, length]) => (start % width) + length)),
    ];
    const [top, bottom] = [Math.min(...rows), Math.max(...rows) + 1];
    Object.assign(this.mark.style, { left: `${left}px`, top: `${top}px` });
    Object.assign(this.mark.style, { width: `${right - left}px`, height: `${bottom - top}px` });
  }

  place() {
    super.place();
    if (!this.ring) return;
    const shown = this.tool === "brush" || this.tool === "eraser";
    this.ring.hidden = !shown;
    const side = 2 * this.radius + 1;
    Object.assign(this.ring.style, { left: `${this.cursor.x - this.radius}px`, top: `${this.cursor.y - this.radius}px` });
    Object.assign(this.ring.style, { width: `${side}px`, height: `${side}px` });
    const unit = (this.stage.box.clientWidth / this.frame.width || 1) * this.view.scale;
    this.mark.style.outlineWidth = this.ring.style.outlineWidth = `${2 / unit}px`;
    this.mark.style.outlineOffset = `${4 / unit}px`;
  }

  // -- choices ----------------------------------------------------------------------------------

  take(tool) {
    this.tool = tool;
    this.showAll();
  }

  choose(k) {
    this.chosen = k;
    this.showAll();
    this.showQuestion();
  }

  chooseBy(by) {
    const at = this.rows.findIndex(({ k }) => k === this.chosen);
    this.choose(this.rows[(at + by + this.rows.length) % this.rows.length].k);
  }

  resizeBrush(radius) {
    this.radius = clamp(radius, 0, 60);
    this.size.value = this.radius;
    this.place();
  }

  find() {
    const text = this.search.value.trim().toLowerCase();
    const found = this.rows.find(({ name }) => name.toLowerCase().startsWith(text));
    const within = found ?? this.rows.find(({ name }) => name.toLowerCase().includes(text));
    if (text && within) this.choose(within.k);
  }

  step(by) {
    const number = this.get("names").length;
    this.look((this.frame.index + by + number) % number);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 1 : 8;
    const { width, height } = this.frame;
    const move = (dx, dy) =>
      this.point({ x: clamp(this.cursor.x + dx, 0, width - 1), y: clamp(this.cursor.y + dy, 0, height - 1) });
    const accept = () => this.guessed() !== undefined && this.answer(this.guessed());
    const actions = {
      ArrowLeft: () => move(-far, 0),
      ArrowRight: () => move(far, 0),
      ArrowUp: () => move(0, -far),
      ArrowDown: () => move(0, far),
      Enter: () => this.use(),
      " ": accept,
      e: accept,
      d: () => this.answer(this.chosen),
      q: () => this.answer(VOID),
      w: () => this.skip(),
      z: () => this.ask({ op: "undo" }),
      x: () => this.ask({ op: "redo" }),
      a: () => this.take("answer"),
      b: () => this.take("brush"),
      v: () => this.take("eraser"),
      g: () => this.take("superpixel"),
      f: () => this.take("fill"),
      c: () => this.search.focus(),
      r: () => this.chooseBy(-1),
      t: () => this.chooseBy(1),
      ",": () => this.resizeBrush(this.radius - 2),
      ".": () => this.resizeBrush(this.radius + 2),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.fit(),
      l: () => this.showLayer(LAYERS[(LAYERS.indexOf(this.layer) + 1) % LAYERS.length]),
      n: () => this.step(1),
      p: () => this.step(-1),
    };
    (this.current?.candidates ?? []).forEach((k, n) => (actions[n + 1] = () => this.answer(k)));
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

export default { render: show(Annotator) };
