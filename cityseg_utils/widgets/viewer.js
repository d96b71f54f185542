// The mask viewer, on what canvas.js has; nothing comes from outside.
// Python sends the frame in view (a picture, and label maps as zlib bytes); all the rest, from
// painting to zoom, happens here, so that it also works in a page without a kernel.

const KEPT = 6; // frames
const KEYS =
  "Arrows move the cursor (Shift: by one pixel), plus and minus zoom, 0 fits, " +
  "brackets change the opacity, 1 to 4 choose the layer, n and p change the image, " +
  "c compares, s shows only the class under the cursor, a shows all.";
const FILM = " The space bar plays and stops.";

async function decode(frame) {
  const maps = ["truth", "prediction", "confidence"].map((name) => inflate(frame[name]));
  const picture = await createImageBitmap(new Blob([frame.image]));
  const [truth, prediction, confidence] = await Promise.all(maps);
  return { ...frame, picture, truth, prediction, confidence };
}

class Viewer extends Look {
  constructor(model, element, signal) {
    super(model, element, signal);
    this.sort = { column: null, up: true };
    this.kept = new Map();
    this.build();
    const repaint = () => this.paint();
    this.listen("change:frame", () => this.load());
    this.listen("change:layer change:hidden change:palette change:compare", () => {
      this.showControls();
      repaint();
    });
    this.listen("change:opacity", () => this.showOpacity());
    this.listen("change:index", () => {
      this.showControls();
      this.show();
    });
    this.listen("msg:custom", ({ maps, ...frame }, buffers) => {
      maps.forEach((name, k) => (frame[name] = buffers[k]));
      this.keep(frame);
      this.show();
    });
    this.load();
  }

  // -- building ---------------------------------------------------------------------------------

  build() {
    const root = this.element;
    this.buildToolbar(make("div", { className: "toolbar" }, root));
    const middle = make("div", { className: "middle" }, root);
    this.stages = make("div", { className: "stages" }, middle);
    this.main = this.buildStage("Mask viewer, the layer that is chosen", this.stages);
    this.second = this.buildStage("Mask viewer, the prediction", this.stages);
    this.buildClasses(make("fieldset", { className: "classes" }, middle));
    this.status = make("p", { className: "status" }, root, { role: "status", "aria-live": "polite" });
    if (this.get("rate")) this.buildPlayer(make("div", { className: "toolbar" }, root));
    const help = this.get("rate") ? KEYS + FILM : KEYS;
    const keys = make("p", { className: "keys", textContent: help }, root);
    keys.id = `cityseg-keys-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    for (const stage of this.looks) stage.box.setAttribute("aria-describedby", keys.id);
    if (this.get("scores").length) this.buildTable(make("div", { className: "scores" }, root));
  }

  buildToolbar(bar) {
    const names = this.get("names");
    this.button(bar, "◀", "previous image", () => this.step(-1));
    this.chooser = this.select(bar, "image", names.map((name, k) => [k, name]), (k) => this.set("index", +k));
    this.button(bar, "▶", "next image", () => this.step(1));
    const tabs = make("span", { className: "tabs" }, bar, { role: "group", "aria-label": "layer" });
    this.tabs = this.get("layers").map((layer) => {
      const tab = this.button(tabs, layer, layer, () => this.set("layer", layer));
      tab.dataset.layer = layer;
      return tab;
    });
    const label = make("label", { textContent: "opacity " }, bar);
    this.slider = make("input", { type: "range", min: 0, max: 1, step: 0.05 }, label);
    this.slider.dataset.lmSuppressShortcuts = "true";
    this.on(this.slider, "input", () => {
      this.model.set("opacity", +this.slider.value);
      this.showOpacity();
      this.model.save_changes();
    });
    const palettes = Object.keys(this.get("palettes")).map((name) => [name, name]);
    this.palette = this.select(bar, "colours", palettes, (name) => this.set("palette", name));
    if (this.get("layers").includes("error")) {
      const ways = [["off", "off"], ["wipe", "wipe"], ["side by side", "side by side"]];
      this.compare = this.select(bar, "compare", ways, (way) => this.set("compare", way));
    }
    this.button(bar, "−", "zoom out", () => this.zoom(1 / 1.5));
    this.button(bar, "+", "zoom in", () => this.zoom(1.5));
    this.button(bar, "fit", "fit the image", () => this.fit());
  }

  buildPlayer(bar) {
    this.player = this.button(bar, "play", "play the film", () => this.play(!this.timer));
    const label = make("label", { textContent: "frame " }, bar);
    const max = this.get("names").length - 1;
    this.time = make("input", { type: "range", className: "time", min: 0, max, step: 1 }, label);
    this.time.dataset.lmSuppressShortcuts = "true";
    this.on(this.time, "input", () => this.set("index", +this.time.value));
    this.signal.addEventListener("abort", () => clearInterval(this.timer));
  }

  buildClasses(field) {
    make("legend", { textContent: "classes" }, field);
    this.button(field, "all", "show all classes", () => this.set("hidden", []));
    this.button(field, "none", "hide all classes", () => this.set("hidden", this.get("classes").map((_, k) => k)));
    const list = make("ul", {}, field);
    this.rows = this.get("classes").map((name, k) => {
      const row = make("li", {}, list);
      const label = make("label", {}, row);
      const check = make("input", { type: "checkbox", checked: true }, label);
      check.dataset.lmSuppressShortcuts = "true";
      const swatch = make("span", { className: "swatch" }, label, { "aria-hidden": "true" });
      make("span", { className: "name", textContent: name }, label);
      const share = make("span", { className: "share" }, label);
      const solo = this.button(row, "solo", `show only ${name}`, () => this.solo(k));
      this.on(check, "change", () => this.toggle(k));
      return { row, check, swatch, share, solo };
    });
  }

  buildTable(box) {
    const table = make("table", {}, box);
    make("caption", { textContent: "images by score; choose a heading to sort, a row to look at it" }, table);
    const columns = Object.keys(this.get("scores")[0]);
    const head = make("tr", {}, make("thead", {}, table));
    this.headings = columns.map((column) => {
      const heading = make("th", {}, head, { scope: "col", "aria-sort": "none" });
      const label = `sort by ${column}`;
      this.button(heading, column, label, () => this.sortBy(column));
      return { column, heading };
    });
    this.body = make("tbody", {}, table);
    this.lines = this.get("scores").map((score, index) => {
      const line = make("tr", {}, this.body);
      for (const column of columns) {
        const value = score[column];
        const text = typeof value === "number" ? value.toFixed(3) : (value ?? "");
        const cell = make("td", {}, line);
        if (column === columns[0]) this.button(cell, text, `look at ${text}`, () => this.set("index", index));
        else cell.textContent = text;
      }
      return { line, score, index };
    });
  }

  // -- data -------------------------------------------------------------------------------------

  load() {
    const frame = this.get("frame");
    if (frame.fault) {
      if (this.player) this.play(false);
      this.status.textContent = frame.fault;
      this.showControls();
      return;
    }
    this.keep(frame);
    this.show();
  }

  // The latest frames, each as the promise of its decoded content.
  keep(frame) {
    if (!this.kept.has(frame.index)) this.kept.set(frame.index, decode(frame));
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
  }

  // Ask for the frame after the one in view, so that it is there when it is wanted.
  lookAhead() {
    const want = (this.frame.index + 1) % this.get("names").length;
    if (!this.kept.has(want)) this.model.send({ want });
  }

  async show() {
    const index = this.get("index");
    if (index === this.frame.index || !this.kept.has(index)) return;
    const frame = await this.kept.get(index);
    if (index !== this.get("index") || index === this.frame.index) return; // another one has overtaken it
    const resized = frame.width !== this.frame.width || frame.height !== this.frame.height;
    this.frame = frame;
    this.count();
    this.resize(frame);
    if (resized) {
      this.fit();
      this.cursor = { x: frame.width >> 1, y: frame.height >> 1 };
    }
    this.showControls();
    this.showOpacity();
    this.paint();
    this.element.dataset.ready = String(frame.index);
    this.lookAhead();
  }

  count() {
    const map = this.frame.truth ?? this.frame.prediction;
    this.shares = new Array(this.get("classes").length).fill(0);
    if (!map) return;
    for (let i = 0; i < map.length; i++) if (map[i] !== VOID) this.shares[map[i]] += 1;
    this.shares = this.shares.map((number) => number / map.length);
  }

  // -- painting ---------------------------------------------------------------------------------

  lookup() {
    const hidden = new Set(this.get("hidden"));
    const table = new Uint32Array(256); // void and hidden classes stay clear
    this.get("palettes")[this.get("palette")].forEach(([r, g, b], k) => {
      if (!hidden.has(k)) table[k] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    return table;
  }

  paint() {
    if (!this.main.pixels) return;
    const compare = this.get("compare");
    const layer = this.get("layer");
    const table = this.lookup();
    const both = compare !== "off" && this.frame.truth && this.frame.prediction;
    this.second.box.hidden = !(both && compare === "side by side");
    if (both && compare === "side by side") {
      this.fill(this.main, "truth", table);
      this.fill(this.second, "prediction", table);
    } else if (both) {
      this.fill(this.main, "truth", table);
      this.fill(this.main, "prediction", table, Math.round(this.cursor.x));
    } else {
      this.fill(this.main, layer, table);
    }
    this.place();
    this.element.dataset.paints = String(+(this.element.dataset.paints ?? 0) + 1);
  }

  fill(stage, layer, table, from = 0) {
    const { truth, prediction, width, height } = this.frame;
    const out = new Uint32Array(stage.pixels.data.buffer);
    const map = layer === "truth" ? truth : prediction;
    if (layer === "error" && truth && prediction) {
      const [wrong, right] = [0xff005ed5, 0xffc8c8c8]; // orange and gray, as in the printed figures
      for (let i = 0; i < out.length; i++) {
        const known = truth[i] !== VOID && table[truth[i]];
        out[i] = known ? (truth[i] === prediction[i] ? right : wrong) : 0;
      }
    } else if (layer === "image" || !map) {
      out.fill(0);
    } else {
      for (let y = 0; y < height; y++) {
        for (let i = y * width + from, end = (y + 1) * width; i < end; i++) out[i] = table[map[i]];
      }
    }
    stage.over.getContext("2d").putImageData(stage.pixels, 0, 0);
  }

  showOpacity() {
    const opacity = this.get("opacity");
    this.slider.value = opacity;
    for (const stage of this.looks) stage.over.style.opacity = opacity;
  }

  showControls() {
    const palette = this.get("palettes")[this.get("palette")];
    const hidden = new Set(this.get("hidden"));
    this.chooser.value = this.get("index");
    if (this.time) {
      this.time.value = this.get("index");
      this.time.setAttribute("aria-valuetext", this.get("names")[this.get("index")]);
    }
    this.palette.value = this.get("palette");
    if (this.compare) this.compare.value = this.get("compare");
    for (const tab of this.tabs) {
      const chosen = tab.dataset.layer === this.get("layer");
      tab.setAttribute("aria-pressed", chosen);
    }
    this.rows.forEach(({ row, check, swatch, share }, k) => {
      check.checked = !hidden.has(k);
      swatch.style.background = `rgb(${palette[k].join(",")})`;
      share.textContent = percent(this.shares?.[k] ?? 0);
      row.classList.toggle("absent", !this.shares?.[k]);
    });
    for (const { line, index } of this.lines ?? []) {
      if (index === this.get("index")) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
  }

  // -- what the reader does -----------------------------------------------------------------------

  point({ x, y }) {
    this.cursor = { x, y };
    const { truth, prediction, confidence, width } = this.frame;
    const names = this.get("classes");
    const at = y * width + x;
    const name = (map) => (map[at] === VOID ? "void" : names[map[at]]);
    const parts = [`x ${x}, y ${y}`];
    if (truth) parts.push(`truth: ${name(truth)}`);
    if (prediction) parts.push(`prediction: ${name(prediction)}`);
    if (confidence) parts.push(`confidence: ${Math.round(confidence[at] / 2.55)} %`);
    this.status.textContent = parts.join("   ");
    if (this.get("compare") === "wipe") this.paint();
    else this.place();
  }

  step(by) {
    const number = this.get("names").length;
    this.set("index", (this.get("index") + by + number) % number);
  }

  // Show a frame when its time has come and the one before it was seen: none is left out.
  play(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.inView() && this.step(1), 1000 / this.get("rate")) : null;
    this.player.textContent = on ? "stop" : "play";
    this.player.setAttribute("aria-label", `${on ? "stop" : "play"} the film`);
  }

  inView() {
    return this.frame.index === this.get("index");
  }

  toggle(k) {
    const hidden = new Set(this.get("hidden"));
    if (!hidden.delete(k)) hidden.add(k);
    this.set("hidden", [...hidden].sort((a, b) => a - b));
  }

  solo(k) {
    this.set("hidden", this.get("classes").map((_, other) => other).filter((other) => other !== k));
  }

  soloHere() {
    const map = this.frame.truth ?? this.frame.prediction;
    const k = map?.[this.cursor.y * this.frame.width + this.cursor.x];
    if (k !== undefined && k !== VOID) this.solo(k);
  }

  sortBy(column) {
    const up = this.sort.column === column ? !this.sort.up : true;
    this.sort = { column, up };
    const value = ({ score }) => score[column];
    const order = (a, b) => (value(a) > value(b)) - (value(a) < value(b));
    const missing = (line) => value(line) === null || value(line) === undefined;
    this.lines.sort((a, b) => missing(a) - missing(b) || (up ? order(a, b) : order(b, a)));
    this.body.append(...this.lines.map(({ line }) => line));
    for (const { column: other, heading } of this.headings) {
      heading.setAttribute("aria-sort", other !== column ? "none" : up ? "ascending" : "descending");
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 1 : 8;
    const { width, height } = this.frame;
    const move = (dx, dy) =>
      this.point({
        x: clamp(this.cursor.x + dx, 0, width - 1),
        y: clamp(this.cursor.y + dy, 0, height - 1),
      });
    const opacity = (by) => this.set("opacity", clamp(Math.round(20 * (this.get("opacity") + by)) / 20, 0, 1));
    const layers = this.get("layers");
    const actions = {
      ArrowLeft: () => move(-far, 0),
      ArrowRight: () => move(far, 0),
      ArrowUp: () => move(0, -far),
      ArrowDown: () => move(0, far),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.fit(),
      "[": () => opacity(-0.1),
      "]": () => opacity(0.1),
      n: () => this.step(1),
      p: () => this.step(-1),
      s: () => this.soloHere(),
      a: () => this.set("hidden", []),
      c: () => {
        const ways = ["off", "wipe", "side by side"];
        if (this.compare) this.set("compare", ways[(ways.indexOf(this.get("compare")) + 1) % 3]);
      },
    };
    if (this.player) actions[" "] = () => this.play(!this.timer);
    layers.forEach((layer, k) => (actions[k + 1] = () => this.set("layer", layer)));
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

export default { render: show(Viewer) };
