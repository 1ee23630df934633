// From a figure's text to volumes: base64, gzip, and the image's differences added up. See medseg/report/payload.py.
async function unpack(text, size) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let index = 0; index < letters.length; index++) bytes[index] = letters.charCodeAt(index);
  if (typeof DecompressionStream === "undefined") return inflateGzip(bytes, size);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function addUp(image, [nx, ny, nz]) {
  for (let z = 0, start = 0; z < nz; z++, start += nx * ny) {
    for (let at = start + nx; at < start + nx * ny; at++) image[at] += image[at - nx];
    for (let y = 0, at = start; y < ny; y++, at++) for (let x = 1; x < nx; x++) { at++; image[at] += image[at - 1]; }
  }
}

// What each of the 256 grey values stands for: linear between the knots.
function valuesOf({ greys, values }) {
  return Array.from({ length: 256 }, (_, grey) => {
    const at = greys[0] < greys[1] && grey < greys[1] ? 0 : grey <= greys[2] ? 1 : 2;
    return values[at] + ((values[at + 1] - values[at]) * (grey - greys[at])) / (greys[at + 1] - greys[at]);
  });
}

async function readVolumes(figure) {
  const meta = JSON.parse(figure.querySelector(".meta").textContent);
  const source = figure.querySelector(".voxels"), size = meta.shape[0] * meta.shape[1] * meta.shape[2];
  const kinds = Object.entries(meta.kinds);
  const all = await unpack(source.textContent, size * (1 + kinds.length));
  source.textContent = "";
  const image = all.subarray(0, size);
  addUp(image, meta.shape);
  const masks = {};
  kinds.forEach(([kind, combinations], place) => {
    masks[kind] = { combinations, codes: all.subarray(size * (place + 1), size * (place + 2)) };
  });
  return { ...meta, image, masks, valueOf: valuesOf(meta) };
}

// Where a plane's picture lies in a volume: columns run towards the patient's left or back, rows towards the feet or back.
function layout(shape, axis) {
  const strides = [1, shape[0], shape[0] * shape[1]], [across, down] = [0, 1, 2].filter((other) => other !== axis);
  return { axis, across, down, columns: shape[across], rows: shape[down], strides };
}

function cut(volume, plane, index) {
  const { across, down, columns, rows, strides, axis } = plane, out = new Uint8Array(columns * rows);
  for (let row = 0, at = 0; row < rows; row++) {
    let from = index * strides[axis] + (rows - 1 - row) * strides[down] + (columns - 1) * strides[across];
    for (let column = 0; column < columns; column++, from -= strides[across]) out[at++] = volume[from];
  }
  return out;
}
