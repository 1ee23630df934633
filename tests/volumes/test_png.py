import struct
import zlib

import numpy as np

from medseg.volumes.png import grey_png


def test_a_png_decodes_to_the_same_pixels():
    grey = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    data = grey_png(grey)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        place += 12 + length
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (7, 5, 8, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 8)
    np.testing.assert_array_equal(rows[:, 1:], grey)
