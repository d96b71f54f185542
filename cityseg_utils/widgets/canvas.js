// What the widgets share: a picture with a layer over it, zoom, pan, and controls by keyboard.
// Python puts this before each widget's own module: there is no bundler.

const VOID = 255;

async function inflate(view) {
  if (!view?.byteLength) return null;
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Names come from files: they are always set as text, never as markup.
function make(tag, properties = {}, parent = null, attributes = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const percent = (share) => (share ? `${share < 0.001 ? "<0.1" : (100 * share).toFixed(1)} %` : "");


class Look {
  constructor(model, element, signal) {
    Object.assign(this, { model, element, signal });
    this.frame = { width: 1, height: 1 };
    this.view = { scale: 1, x: 0, y: 0 };
    this.cursor = { x: 0, y: 0 };
    this.looks = [];
    element.classList.add("cityseg-viewer");
    // JupyterLab takes letter keys for commands, such as x for cutting the cell.
    element.dataset.lmSuppressShortcuts = "true";
    this.on(element, "keydown", (event) => event.stopPropagation());
  }

  get(name) {
    return this.model.get(name);
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  listen(events, action) {
    this.model.on(events, action);
    this.signal.addEventListener("abort", () => this.model.off(events, action));
  }

  on(target, type, action, options = {}) {
    target.addEventListener(type, action, { signal: this.signal, ...options });
  }

  button(parent, text, label, action) {
    const button = make("button", { type: "button", textContent: text }, parent, { "aria-label": label });
    button.dataset.lmSuppressShortcuts = "true";
    this.on(button, "click", action);
    return button;
  }

  select(parent, label, options, action) {
    const box = make("label", { textContent: `${label} ` }, parent);
    const select = make("select", {}, box);
    select.dataset.lmSuppressShortcuts = "true";
    for (const [value, text] of options) make("option", { value, textContent: text }, select);
    this.on(select, "change", () => action(select.value));
    return select;
  }

  buildStage(what, parent) {
    const box = make("div", { className: "stage", tabIndex: 0 }, parent, { role: "application", "aria-label": what });
    box.dataset.lmSuppressShortcuts = "true";
    const inner = make("div", { className: "inner" }, box);
    const stage = { box, inner, base: make("canvas", {}, inner), over: make("canvas", {}, inner) };
    stage.cross = make("div", { className: "cross" }, inner);
    this.on(box, "keydown", (event) => this.key(event));
    this.on(box, "wheel", (event) => this.wheel(event, box), { passive: false });
    this.pointers(stage);
    this.looks.push(stage);
    return stage;
  }

  // Make the canvases as large as a frame, and draw its picture.
  resize(frame) {
    for (const stage of this.looks) {
      for (const canvas of [stage.base, stage.over]) {
        canvas.width = frame.width;
        canvas.height = frame.height;
      }
      stage.base.getContext("2d").drawImage(frame.picture, 0, 0, frame.width, frame.height);
      stage.box.style.aspectRatio = `${frame.width} / ${frame.height}`;
      stage.pixels = stage.over.getContext("2d").createImageData(frame.width, frame.height);
    }
  }

  // -- zoom and pan: the same for both stages -----------------------------------------------------

  place() {
    const { scale, x, y } = this.view;
    for (const { box, inner, cross } of this.looks) {
      const unit = box.clientWidth / this.frame.width || 1;
      inner.style.transform = `translate(${x * unit}px, ${y * unit}px) scale(${scale * unit})`;
      cross.style.left = `${this.cursor.x}px`;
      cross.style.top = `${this.cursor.y}px`;
    }
  }

  fit() {
    this.view = { scale: 1, x: 0, y: 0 };
    this.place();
  }

  zoom(factor, at = this.cursor) {
    const { width, height } = this.frame;
    const old = this.view;
    const scale = clamp(old.scale * factor, 1, 32);
    // The pixel under `at` stays where it is.
    this.view = {
      scale,
      x: clamp(old.x + at.x * (old.scale - scale), width * (1 - scale), 0),
      y: clamp(old.y + at.y * (old.scale - scale), height * (1 - scale), 0),
    };
    this.place();
  }

  pan(dx, dy) {
    const { width, height } = this.frame;
    const { scale, x, y } = this.view;
    this.view.x = clamp(x + dx, width * (1 - scale), 0);
    this.view.y = clamp(y + dy, height * (1 - scale), 0);
    this.place();
  }

  pixel(event, box) {
    const area = box.getBoundingClientRect();
    const unit = area.width / this.frame.width;
    const { scale, x, y } = this.view;
    return {
      x: clamp(Math.floor(((event.clientX - area.left) / unit - x) / scale), 0, this.frame.width - 1),
      y: clamp(Math.floor(((event.clientY - area.top) / unit - y) / scale), 0, this.frame.height - 1),
    };
  }

  // What a press or a drag does beside looking around: nothing, unless a widget says so.
  press() {
    return false;
  }

  drag() {
    return false;
  }

  release() {}

  pointers({ box }) {
    const down = new Map();
    this.on(box, "pointerdown", (event) => {
      box.focus({ preventScroll: true });
      box.setPointerCapture(event.pointerId);
      down.set(event.pointerId, event);
      if (down.size === 1) this.press(event, this.pixel(event, box));
    });
    this.on(box, "pointermove", (event) => {
      const before = down.get(event.pointerId);
      if (!before) return this.point(this.pixel(event, box));
      if (down.size === 1 && this.drag(event, this.pixel(event, box))) return;
      const unit = box.clientWidth / this.frame.width;
      if (down.size === 2) {
        const other = [...down.values()].find((one) => one.pointerId !== event.pointerId);
        const spread = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        this.zoom(spread(event) / Math.max(spread(before), 1), this.pixel(other, box));
      } else {
        this.pan((event.clientX - before.clientX) / unit, (event.clientY - before.clientY) / unit);
      }
      down.set(event.pointerId, event);
    });
    for (const type of ["pointerup", "pointercancel"]) {
      this.on(box, type, (event) => {
        down.delete(event.pointerId);
        this.release(event);
      });
    }
  }

  wheel(event, box) {
    // Without focus or Ctrl the wheel scrolls the page, as everywhere.
    if (!event.ctrlKey && document.activeElement !== box) return;
    event.preventDefault();
    this.zoom(1.0015 ** -event.deltaY, this.pixel(event, box));
  }
}

function show(Kind) {
  return ({ model, el, signal }) => {
    // Older front ends give no signal, but call what is returned when the view goes away.
    const ending = new AbortController();
    signal?.addEventListener("abort", () => ending.abort());
    const viewer = new Kind(model, el, ending.signal);
    el.viewer = viewer; // for those who look closer, as the browser tests do
    const sized = new ResizeObserver(() => viewer.place());
    sized.observe(el);
    return () => {
      sized.disconnect();
      ending.abort();
    };
  };
}
