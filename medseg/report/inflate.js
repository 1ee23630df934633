// Gzip for browsers without DecompressionStream (before Chrome 80, Firefox 113, Safari 16.4): RFC 1951 and RFC 1952.
const LENGTH_BASE = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

// A canonical Huffman code as counts per length and symbols in order of their codes.
function huffman(lengths) {
  const counts = new Uint16Array(16), offsets = new Uint16Array(16), symbols = new Uint16Array(lengths.length);
  for (const length of lengths) counts[length]++;
  counts[0] = 0;
  for (let length = 1; length < 16; length++) offsets[length] = offsets[length - 1] + counts[length - 1];
  lengths.forEach((length, symbol) => { if (length) symbols[offsets[length]++] = symbol; });
  return { counts, symbols };
}

// bytes: a gzip member as medseg writes it, with no name and no comment; size: how many bytes come out of it.
function inflateGzip(bytes, size) {
  const out = new Uint8Array(size);
  let at = 10, bit = 0, held = 0, written = 0, last = 0;
  const bits = (count) => {
    while (bit < count) { held |= bytes[at++] << bit; bit += 8; }
    const value = held & ((1 << count) - 1);
    held >>>= count; bit -= count;
    return value;
  };
  const symbol = (code) => {
    let value = 0, first = 0, index = 0;
    for (let length = 1; length < 16; length++) {
      value |= bits(1);
      const count = code.counts[length];
      if (value - count < first) return code.symbols[index + value - first];
      index += count; first = (first + count) << 1; value <<= 1;
    }
    throw new Error("the volume in this file is damaged");
  };
  const codes = () => {
    const literals = bits(5) + 257, distances = bits(5) + 1, wanted = bits(4) + 4, lengths = new Array(19).fill(0);
    for (let index = 0; index < wanted; index++) lengths[CODE_ORDER[index]] = bits(3);
    const code = huffman(lengths), all = [];
    while (all.length < literals + distances) {
      const value = symbol(code);
      if (value < 16) { all.push(value); continue; }
      const repeated = value === 16 ? all[all.length - 1] : 0;
      const times = value === 16 ? 3 + bits(2) : value === 17 ? 3 + bits(3) : 11 + bits(7);
      for (let time = 0; time < times; time++) all.push(repeated);
    }
    return [huffman(all.slice(0, literals)), huffman(all.slice(literals))];
  };
  const fixed = () => [
    huffman(Array.from({ length: 288 }, (_, value) => (value < 144 ? 8 : value < 256 ? 9 : value < 280 ? 7 : 8))),
    huffman(new Array(30).fill(5)),
  ];
  while (!last) {
    last = bits(1);
    const kind = bits(2);
    if (kind === 0) {
      held = 0; bit = 0;
      const length = bytes[at] | (bytes[at + 1] << 8);
      out.set(bytes.subarray(at + 4, at + 4 + length), written);
      at += 4 + length; written += length;
      continue;
    }
    const [literal, distance] = kind === 1 ? fixed() : codes();
    for (let value = symbol(literal); value !== 256; value = symbol(literal)) {
      if (value < 256) { out[written++] = value; continue; }
      const length = LENGTH_BASE[value - 257] + bits(LENGTH_EXTRA[value - 257]);
      const step = symbol(distance), extra = step < 2 ? 0 : (step >> 1) - 1;
      const back = step < 2 ? step + 1 : ((2 + (step & 1)) << extra) + 1 + bits(extra);
      for (let index = 0; index < length; index++, written++) out[written] = out[written - back];
    }
  }
  return out;
}
