// The slice viewer of one case: three planes, linked by a crosshair, over volumes that are unpacked when first needed.
const FILLED = 0.3;

function colourOf(figure, place) {
  const value = getComputedStyle(figure).getPropertyValue(`--c${place}`).trim();
  return [1, 3, 5].map((start) => parseInt(value.slice(start, start + 2), 16));
}

// Where level and window can go: two windows to either side, as far as there are such values.
function reachOf({ window: [black, white], values }) {
  const low = Math.max(values[0], black - 2 * (white - black)), high = Math.min(values[3], white + 2 * (white - black));
  return [low, high - low];
}

function makeViewer(figure, volumes, overlay) {
  const colours = volumes.regions.map(([, place]) => colourOf(figure, place));
  const level = figure.querySelector(".level"), width = figure.querySelector(".window input.window");
  const views = [...figure.querySelectorAll(".view")].map((node) => ({
    node, canvas: node.querySelector("canvas"), slider: node.querySelector("input"), output: node.querySelector("output"),
    base: document.createElement("canvas"), key: "",
    plane: layout(volumes.shape, Number(node.dataset.axis)),
  }));
  const [lowest, span] = reachOf(volumes), place = [0, 0, 0], starts = views.map((view) => view.slider.value);
  const paper = document.createElement("canvas"), pen = paper.getContext("2d");
  let asked = 0;

  const regionsOf = (kind, code) =>
    volumes.masks[kind].combinations[code].filter((region) => !overlay.hidden.has(volumes.regions[region][0]));

  // A plane is drawn anew when its slice, its size or what is shown of it changes; else only the crosshair moves.
  function paint(view) {
    const { canvas, base } = view, ratio = window.devicePixelRatio || 1;
    const wide = Math.round(canvas.clientWidth * ratio), high = Math.round(canvas.clientHeight * ratio);
    if (!wide || !high) return;
    const key = [wide, high, place[view.plane.axis], level.value, width.value, overlay.version].join();
    if (key !== view.key) {
      view.key = key;
      for (const one of [canvas, base]) { one.width = wide; one.height = high; }
      paintBase(view, ratio);
    }
    const draw = canvas.getContext("2d");
    draw.drawImage(base, 0, 0);
    if (overlay.cross) crosshair(view, draw, ratio);
  }

  function paintBase(view, ratio) {
    const { base, plane } = view, draw = base.getContext("2d");
    const picture = (pixels, smooth) => {
      paper.width = plane.columns; paper.height = plane.rows;
      pen.putImageData(pixels, 0, 0);
      draw.imageSmoothingEnabled = smooth; draw.imageSmoothingQuality = "high";
      draw.drawImage(paper, 0, 0, base.width, base.height);
    };
    picture(greyPixels(view), true);
    if (overlay.prediction && volumes.masks.prediction) picture(filledPixels(view), false);
    if (overlay.reference && volumes.masks.reference) outline(view, draw, ratio);
  }

  // A picture of a slice: each of its bytes looked up as red, green, blue and opacity.
  function pixelsOf({ plane }, volume, table) {
    const pixels = new ImageData(plane.columns, plane.rows), words = new Uint32Array(pixels.data.buffer);
    const colour = new Uint32Array(new Uint8ClampedArray(table.flat()).buffer), slice = cut(volume, plane, place[plane.axis]);
    for (let at = 0; at < words.length; at++) words[at] = colour[slice[at]];
    return pixels;
  }

  function greyPixels(view) {
    const black = Number(level.value) - Number(width.value) / 2, scale = 255 / Number(width.value);
    const table = volumes.valueOf.map((value) => { const grey = (value - black) * scale; return [grey, grey, grey, 255]; });
    return pixelsOf(view, volumes.image, table);
  }

  function filledPixels(view) {
    const { combinations, codes } = volumes.masks.prediction;
    const table = combinations.map((_, code) => {
      const top = regionsOf("prediction", code).pop();
      return top === undefined ? [0, 0, 0, 0] : [...colours[top], 255 * FILLED];
    });
    return pixelsOf(view, codes, table);
  }

  // Along the borders between voxels, on whichever side the mask is.
  function outline({ base, plane }, draw, ratio) {
    const { combinations, codes } = volumes.masks.reference, { columns, rows } = plane;
    const slice = cut(codes, plane, place[plane.axis]), sx = base.width / columns, sy = base.height / rows;
    const present = new Set(slice);
    const held = combinations.map((_, code) => (present.has(code) ? regionsOf("reference", code) : []));
    draw.lineWidth = 1.6 * ratio; draw.lineCap = "square";
    for (const region of [...new Set(held.flat())].sort((a, b) => a - b)) {
      const has = Uint8Array.from(held, (regions) => regions.includes(region)), path = new Path2D();
      for (let row = 0; row <= rows; row++) for (let column = 0; column <= columns; column++) {
        const at = row * columns + column, here = row < rows && column < columns ? has[slice[at]] : 0;
        const above = row && column < columns ? has[slice[at - columns]] : 0;
        const before = column && row < rows ? has[slice[at - 1]] : 0;
        if (here !== above) { path.moveTo(column * sx, row * sy); path.lineTo((column + 1) * sx, row * sy); }
        if (here !== before) { path.moveTo(column * sx, row * sy); path.lineTo(column * sx, (row + 1) * sy); }
      }
      draw.strokeStyle = `rgb(${colours[region].join()})`;
      draw.stroke(path);
    }
  }

  function crosshair({ canvas, plane }, draw, ratio) {
    const x = ((plane.columns - place[plane.across] - 0.5) * canvas.width) / plane.columns;
    const y = ((plane.rows - place[plane.down] - 0.5) * canvas.height) / plane.rows, gap = 9 * ratio;
    draw.beginPath();
    for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, canvas.width, y], [x, 0, x, y - gap], [x, y + gap, x, canvas.height]]) {
      draw.moveTo(x0, y0); draw.lineTo(x1, y1);
    }
    draw.lineWidth = ratio; draw.strokeStyle = "rgba(255, 255, 255, 0.4)";
    draw.stroke();
  }

  function update() {
    for (const { slider, output, plane } of views) {
      place[plane.axis] = Number(slider.value);
      output.value = `${place[plane.axis] + 1} / ${volumes.shape[plane.axis]}`;
      const position = ((place[plane.axis] + 0.5) * volumes.spacing[plane.axis]).toFixed(0);
      slider.setAttribute("aria-valuetext", `slice ${place[plane.axis] + 1} of ${volumes.shape[plane.axis]}, ${position} mm`);
    }
    for (const slider of [level, width]) slider.nextElementSibling.value = tidy(Number(slider.value));
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; views.forEach(paint); });
  }

  const tidy = (value) => value.toFixed(span < 20 ? 2 : 0);
  const move = (slider, by) => { slider.value = Number(slider.value) + by; update(); };

  function setWindow() {
    const [black, white] = volumes.window;
    Object.assign(level, { min: lowest, max: lowest + span, step: "any", value: (black + white) / 2 });
    Object.assign(width, { min: span / 200, max: span, step: "any", value: white - black });
  }

  function reset() {
    views.forEach((view, index) => { view.slider.value = starts[index]; });
    setWindow(); update();
  }

  function point(view, event) {
    const box = view.canvas.getBoundingClientRect(), { plane } = view;
    const within = (part, count) => Math.max(0, Math.min(count - 1, Math.floor((1 - part) * count)));
    const to = { [plane.across]: within((event.clientX - box.left) / box.width, plane.columns),
                 [plane.down]: within((event.clientY - box.top) / box.height, plane.rows) };
    for (const other of views) if (other.plane.axis in to) other.slider.value = to[other.plane.axis];
    update();
  }

  function drag(view, down) {
    const windowing = down.shiftKey || down.button === 2, reach = span / 300;
    const moved = (event) => {
      if (!windowing) return point(view, event);
      width.value = Number(width.value) + event.movementX * reach;
      move(level, event.movementY * reach);
    };
    if (!windowing) point(view, down);
    view.canvas.setPointerCapture(down.pointerId);
    view.canvas.addEventListener("pointermove", moved);
    const done = () => view.canvas.removeEventListener("pointermove", moved);
    for (const end of ["pointerup", "pointercancel"]) view.canvas.addEventListener(end, done, { once: true });
  }

  let turned = 0;
  function wheel(view, event) {
    // A page that is being scrolled goes on when a picture comes under the pointer, and where the slices end.
    const { slider } = view, by = Math.sign(event.deltaY), at = Number(slider.value);
    if (!by || event.ctrlKey || performance.now() - overlay.scrolledAt < 250) return;
    if ((by > 0 && at === 0) || (by < 0 && at === Number(slider.max))) return;
    event.preventDefault();
    turned += event.deltaMode === 0 ? event.deltaY : event.deltaY * 40;
    const steps = Math.abs(turned) >= 40 ? Math.sign(turned) * Math.max(1, Math.floor(Math.abs(turned) / 100)) : 0;
    if (steps) { turned = 0; move(slider, -steps); }
  }

  for (const view of views) {
    view.canvas.addEventListener("pointerdown", (event) => {
      view.slider.focus({ preventScroll: true }); // from here on the arrow keys go through this plane
      drag(view, event);
    });
    view.canvas.addEventListener("mousedown", (event) => event.preventDefault()); // or the slider loses the focus
    view.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    view.canvas.addEventListener("wheel", (event) => wheel(view, event), { passive: false });
    view.canvas.hidden = false;
    view.node.querySelector("svg").setAttribute("hidden", "");
  }
  figure.querySelectorAll("input").forEach((input) => input.addEventListener("input", update));
  figure.querySelector("button").addEventListener("click", reset);
  new ResizeObserver(update).observe(figure);
  setWindow(); update();
  figure.dataset.ready = "true";
  return update;
}

function startViewers() {
  const area = document.querySelector(".overlays:has(figure)");
  if (!area) return;
  const overlay = { hidden: new Set(), scrolledAt: -1e9, version: 0 }, redraw = [];
  const read = () => {
    for (const kind of ["reference", "prediction", "cross"]) overlay[kind] = document.getElementById(`show-${kind}`).checked;
    overlay.hidden = new Set([...area.querySelectorAll("[data-region]:not(:checked)")].map((box) => box.dataset.region));
    overlay.version++;
    redraw.forEach((again) => again());
  };
  area.querySelector(".toolbar").addEventListener("change", read);
  addEventListener("scroll", () => { overlay.scrolledAt = performance.now(); }, { passive: true });
  area.querySelectorAll("[data-viewer]").forEach((node) => { node.hidden = false; });
  read();
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      readVolumes(target).then((volumes) => redraw.push(makeViewer(target, volumes, overlay))).catch((error) => {
        target.querySelector(".note").append(` The viewer cannot start: ${error.message}.`);
      });
    }
  }, { rootMargin: "400px" });
  area.querySelectorAll("figure.case").forEach((figure) => seen.observe(figure));
}
