"""Makes otsu.json: heatmaps and their Otsu thresholds by scikit-image.

Run with scikit-image 0.26.0 and numpy 2.4.6:

    python crates/heatmap-seg/tests/goldens/make.py

A heatmap is stored as integers and a divisor; its values are the f32 quotients, which are the same in
numpy and in Rust.
"""

import json
import pathlib
import warnings

import numpy as np
import skimage
from skimage.filters import threshold_otsu

warnings.simplefilter("ignore")  # "might be a colour image", for the small volume
rng = np.random.default_rng(20260)


def blob(shape, noise):
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    distance = sum((axis - 0.2) ** 2 for axis in axes)
    return np.clip(np.exp(-4 * distance) * (1 - noise) + noise * rng.random(shape), 0, 1)


blobs = blob((24, 31), 0.2)
heatmaps = {
    "blob": (65535, blobs),
    "sparse": (65535, np.where(blobs < 0.55, 0, blobs)),
    "noise": (65535, rng.random((19, 23))),
    "narrow range": (65535, 0.4 + 0.003 * rng.random((16, 16))),
    "not from 0 to 1": (977, 0.13 + 0.5 * blob((15, 17), 0.5)),
    "values on the edges of bins": (256, rng.random((20, 20))),
    "values on edges, from 3 to 200 of 256": (256, (3 + 197 * rng.random((20, 20))) / 256),
    "two values": (10, np.where(blobs < 0.5, 0.2, 0.7)),
    "equal halves": (10, np.tile([0.1, 0.9], (4, 4))),
    "three values, a tie": (10, np.tile([0.1, 0.5, 0.9], (4, 4))),
    "constant": (10, np.full((5, 7), 0.3)),
    "all zero": (1, np.zeros((5, 7))),
    "one pixel": (10, np.full((1, 1), 0.6)),
    "row": (65535, rng.random(50)),
    "volume": (65535, blob((9, 8, 7), 0.3)),
    "sparse volume": (65535, np.maximum(blob((6, 9, 8), 0.3) - 0.3, 0)),
}

cases = []
for name, (divisor, heatmap) in heatmaps.items():
    integers = np.rint(heatmap * divisor).astype(int)
    values = integers.astype(np.float32) / np.float32(divisor)
    threshold = np.float32(threshold_otsu(values))
    cases.append(
        {
            "name": name,
            "shape": list(values.shape),
            "divisor": divisor,
            "integers": integers.ravel().tolist(),
            "threshold": float(threshold),
            "foreground": int((values > threshold).sum()),
        }
    )

target = pathlib.Path(__file__).with_name("otsu.json")
made_by = {"scikit-image": skimage.__version__, "numpy": np.__version__}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
print(f"{target}: {len(cases)} cases")
