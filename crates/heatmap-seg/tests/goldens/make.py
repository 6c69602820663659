"""Makes thresholds.json: heatmaps and their thresholds by scikit-image, numpy and a paper's formula.

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
from skimage.filters import (
    apply_hysteresis_threshold,
    threshold_li,
    threshold_local,
    threshold_multiotsu,
    threshold_otsu,
    threshold_triangle,
    threshold_yen,
)

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


def kapur(values):
    """Kapur 1985, equation by equation: scikit-image has no such threshold."""
    counts, edges = np.histogram(values, bins=256)
    p = counts / counts.sum()
    centres = (edges[1:] + edges[:-1]) / 2
    entropies = []
    for split in range(255):
        entropy = 0.0
        for part in (p[: split + 1], p[split + 1 :]):
            share = part[part > 0] / part.sum()
            entropy -= (share * np.log(share)).sum()
        entropies.append(entropy)
    # The first of the best, where rounding would choose among those that empty bins make equal.
    return centres[np.flatnonzero(np.array(entropies) > max(entropies) - 1e-12)[0]]


def or_none(rule, values):
    """None where scikit-image has no answer: fewer values than classes."""
    try:
        return np.asarray(rule(values), dtype=float).tolist()
    except ValueError:
        return None


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
            "constant": bool(values.min() == values.max()),
            "percentiles": [float(np.percentile(values.astype(float), q)) for q in (0, 12.5, 50, 95, 100)],
            "multi_otsu": [or_none(lambda v: threshold_multiotsu(v, classes), values) for classes in (2, 3, 4)],
            "yen": float(threshold_yen(values)),
            # In f64: its means of f32 are what this would otherwise measure.
            "li": float(threshold_li(values.astype(float))),
            "triangle": float(threshold_triangle(values)),
            "maximum_entropy": float(kapur(values)) if values.min() < values.max() else float(values.flat[0]),
            "local": [
                threshold_local(values.astype(float), side, method=method, offset=0.02).ravel().round(7).tolist()
                for side, method in ((5, "mean"), (7, "gaussian"))
            ]
            if name in ("noise", "row", "volume")
            else None,
            "hysteresis": "".join(
                "01"[on] for on in apply_hysteresis_threshold(values, 0.3, 0.6).ravel().astype(int)
            ),
        }
    )

target = pathlib.Path(__file__).with_name("thresholds.json")
made_by = {"scikit-image": skimage.__version__, "numpy": np.__version__}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
print(f"{target}: {len(cases)} cases")
