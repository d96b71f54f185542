// The reference model in a reader's browser, with onnxruntime-web; nothing comes from elsewhere.

const HERE = new URL(".", import.meta.url);
const EVERY = 1000; // milliseconds, at least, from one picture of the camera to the next
const NO_ENGINE =
  "This copy of the site has no engine to run the network: in its source, say npm ci in docs/try_it, " +
  "and build the site again.";

function make(tag, properties, parent, attributes = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}

class Page {
  constructor(root, classes) {
    this.root = root;
    Object.assign(this, { classes, names: classes.names, answer: null, film: null });
    [this.height, this.width] = classes.size;
    const bar = make("div", { className: "bar" }, root);
    this.asked = 0; // the number of what was chosen last
    this.button(bar, "the drawn street", () => this.showStreet());
    const chosen = make("label", { textContent: "your photograph " }, bar);
    const file = make("input", { type: "file", accept: "image/*", disabled: true }, chosen);
    file.addEventListener("change", () => file.files[0] && this.showFile(file.files[0]));
    this.camera = this.button(bar, "your camera", () => this.film ? this.stop() : this.watch());
    const colors = make("label", { textContent: "colours " }, bar);
    this.palette = make("select", {}, colors);
    for (const name of Object.keys(classes.palettes)) make("option", { textContent: name }, this.palette);
    this.palette.addEventListener("change", () => this.paint());
    const opacity = make("label", { textContent: "opacity " }, bar);
    this.opacity = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.6 }, opacity);
    this.opacity.addEventListener("input", () => (this.over.style.opacity = this.opacity.value));
    const stage = make("div", { className: "stage" }, root);
    const size = { width: this.width, height: this.height };
    this.picture = make("canvas", size, stage, { "aria-hidden": "true" });
    const help = { role: "application", "aria-label": "The picture; arrows move the cursor" };
    this.over = make("canvas", { ...size, className: "answer", tabIndex: 0 }, stage, help);
    this.over.style.opacity = this.opacity.value;
    this.over.addEventListener("pointermove", (event) => this.point(event));
    this.over.addEventListener("keydown", (event) => this.key(event));
    this.cursor = { x: this.width >> 1, y: this.height >> 1 };
    this.pointed = make("p", { className: "pointed" }, root);
    this.said = make("p", { className: "said" }, root, { role: "status", "aria-live": "polite" });
    this.legend = make("ul", {}, root, { "aria-label": "classes in the picture" });
  }

  button(parent, text, action) {
    const button = make("button", { type: "button", textContent: text, disabled: true }, parent);
    button.addEventListener("click", () => action().catch((error) => this.say(error.message)));
    return button;
  }

  enable() {
    for (const control of this.root.querySelectorAll(":disabled")) control.disabled = false;
  }

  say(text) {
    this.said.textContent = text;
  }

  // -- pictures ---------------------------------------------------------------------------------

  async showStreet() {
    await this.stop();
    const street = await fetch(new URL("street.png", HERE));
    await this.look(await createImageBitmap(await street.blob()));
  }

  async showFile(file) {
    await this.stop();
    const picture = await createImageBitmap(file).catch(() => null);
    if (picture === null) return this.say(`${file.name} is no picture that this browser can read.`);
    await this.look(picture).catch((error) => this.say(error.message));
  }

  async watch() {
    if (!navigator.mediaDevices) return this.say("A browser lends its camera to https pages alone.");
    const asked = ++this.asked;
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    if (asked !== this.asked) return stream.getTracks().forEach((track) => track.stop());
    const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true });
    this.film = video;
    this.camera.textContent = "stop the camera";
    await video.play();
    while (this.film === video) {
      const begun = performance.now();
      await this.look(video, video.videoWidth, video.videoHeight);
      await new Promise((go) => setTimeout(go, Math.max(0, EVERY - (performance.now() - begun))));
    }
  }

  async stop() {
    this.asked += 1;
    this.film?.srcObject.getTracks().forEach((track) => track.stop());
    this.film = null;
    this.camera.textContent = "your camera";
  }

  // -- the network ------------------------------------------------------------------------------

  async look(image, width = image.width, height = image.height) {
    const context = this.picture.getContext("2d", { willReadFrequently: true });
    const [w, h] = [Math.min(width, 2 * height), Math.min(height, width / 2)]; // the middle
    context.imageSmoothingQuality = "high";
    context.fillStyle = "white"; // behind what is transparent
    context.fillRect(0, 0, this.width, this.height);
    context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h, 0, 0, this.width, this.height);
    if (!this.film) this.say("looking ...");
    await new Promise((go) => setTimeout(go)); // so that the words are seen
    const { data } = context.getImageData(0, 0, this.width, this.height);
    const input = new Float32Array((data.length / 4) * 3);
    for (let i = 0, k = 0; i < data.length; i += 4) {
      for (let channel = 0; channel < 3; channel++) input[k++] = data[i + channel] / 255;
    }
    const tensor = new this.ort.Tensor("float32", input, [1, this.height, this.width, 3]);
    const begun = performance.now();
    const told = await this.session.run({ [this.session.inputNames[0]]: tensor });
    this.seconds = (performance.now() - begun) / 1000;
    this.decide(told[this.session.outputNames[0]].data);
    this.paint();
    const time = `This picture took ${this.seconds.toFixed(1)} s.`;
    if (!this.film) this.say(`${time} Point at it: what does the network see?`);
    else if (this.said.textContent !== "Looking.") this.say("Looking.");
    this.read();
    this.root.dataset.looks = String(+(this.root.dataset.looks ?? 0) + 1);
  }

  // The likeliest class of each pixel, and how likely.
  decide(scores) {
    const number = this.names.length;
    this.answer = new Uint8Array(this.width * this.height);
    this.sure = new Float32Array(this.answer.length);
    for (let i = 0; i < this.answer.length; i++) {
      let best = 0;
      for (let k = 1; k < number; k++) if (scores[i * number + k] > scores[i * number + best]) best = k;
      this.answer[i] = best;
      this.sure[i] = scores[i * number + best];
    }
  }

  paint() {
    if (!this.answer) return;
    const colors = this.classes.palettes[this.palette.value];
    const pixels = new ImageData(this.width, this.height);
    const shares = new Array(this.names.length).fill(0);
    this.answer.forEach((k, i) => {
      shares[k] += 1 / this.answer.length;
      pixels.data.set([...colors[k], 255], 4 * i);
    });
    this.over.getContext("2d").putImageData(pixels, 0, 0);
    const order = shares.map((share, k) => [share, k]).sort((a, b) => b[0] - a[0]);
    const seen = order.filter(([share]) => share >= 0.001);
    this.legend.replaceChildren(
      ...seen.map(([share, k]) => {
        const item = make("li", {});
        const swatch = make("span", { className: "swatch" }, item, { "aria-hidden": "true" });
        swatch.style.background = `rgb(${colors[k].join(",")})`;
        item.append(`${this.names[k]} ${(100 * share).toFixed(1)} %`);
        return item;
      }),
    );
    const words = seen.slice(0, 5).map(([, k]) => this.names[k]).join(", ");
    this.over.setAttribute("aria-label", `The picture, mostly ${words}; arrows move the cursor`);
  }

  point(event) {
    const { clientWidth, clientHeight } = this.over;
    this.move((event.offsetX / clientWidth) * this.width, (event.offsetY / clientHeight) * this.height);
  }

  key(event) {
    const steps = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    this.move(this.cursor.x + step[0], this.cursor.y + step[1]);
    this.say(this.pointed.textContent);
  }

  move(x, y) {
    const within = (value, size) => Math.max(0, Math.min(size - 1, Math.floor(value)));
    this.cursor = { x: within(x, this.width), y: within(y, this.height) };
    this.read();
  }

  // What the network says of the pixel under the cursor.
  read() {
    if (!this.answer) return;
    const { x, y } = this.cursor;
    const at = y * this.width + x;
    const sure = Math.round(100 * this.sure[at]);
    this.pointed.textContent = `${this.names[this.answer[at]]}, ${sure} % sure (x ${x}, y ${y})`;
  }
}

async function start(root) {
  const ort = await import(new URL("ort.wasm.bundle.min.mjs", HERE)).catch(() => null);
  if (ort === null) return root.replaceChildren(make("p", { textContent: NO_ENGINE }));
  try {
    ort.env.wasm.numThreads = 1; // more of them need headers that few servers send
    ort.env.wasm.wasmPaths = HERE.href;
    root.replaceChildren();
    const page = new Page(root, await (await fetch(new URL("classes.json", HERE))).json());
    page.say("loading the network, 4 MB, and its engine, 14 MB ...");
    page.ort = ort;
    page.session = await ort.InferenceSession.create(new URL("reference.onnx", HERE).href);
    root.page = page;
    page.enable();
    await page.showStreet();
  } catch (error) {
    root.append(make("p", { textContent: `This did not work: ${error.message}` }));
  }
}

start(document.getElementById("tried"));
