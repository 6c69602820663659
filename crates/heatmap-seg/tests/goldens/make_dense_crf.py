"""Makes dense_crf.json: heatmaps refined by pydensecrf and by the mean field's formula.

Run with pydensecrf 1.0rc3 (which Cython below 3 builds, `pip install --no-build-isolation`, from its .pyx files)
and numpy 2.4.6:

    python crates/heatmap-seg/tests/goldens/make_dense_crf.py

Heatmaps are stored in 65535ths and images in 255ths; their values are the f32 quotients.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
import pydensecrf.densecrf as dcrf

rng = np.random.default_rng(20263)
CLIP, ITERATIONS = 0.01, 5
GAUSSIAN, BILATERAL = (2.0, 1.5), (8.0, 0.1, 4.0)


def case(shape, noise):
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    lesion = sum((axis - 0.1) ** 2 for axis in axes) < 0.35
    image = 0.35 + 0.3 * lesion + noise * rng.standard_normal(shape)
    heatmap = np.exp(-2.5 * sum((axis + 0.05) ** 2 for axis in axes)) + 0.15 * rng.standard_normal(shape)
    return np.rint(np.clip(heatmap, 0, 1) * 65535).astype(int), np.rint(np.clip(image, 0, 1) * 255).astype(int)


def features(image, bilateral):
    sigma = BILATERAL[0] if bilateral else GAUSSIAN[0]
    rows = [axis.ravel() / sigma for axis in np.indices(image.shape)[::-1]]
    if bilateral:
        rows.append((image - image.min()).ravel() / BILATERAL[1])
    return np.array(rows)


def plain(heat, image, kernels):
    """Krähenbühl and Koltun 2011, Algorithm 1, every pair of pixels, with pydensecrf's normalisation."""
    p = np.clip(heat.ravel(), CLIP, 1 - CLIP)
    unary = np.stack([np.log(1 - p), np.log(p)])
    matrices = []
    for bilateral, weight in kernels:
        f = features(image, bilateral)
        k = np.exp(-0.5 * ((f[:, :, None] - f[:, None, :]) ** 2).sum(0))
        norm = 1 / np.sqrt(k.sum(1))
        matrices.append(weight * norm[:, None] * k * norm[None, :])
    q = np.exp(unary)
    for _ in range(ITERATIONS):
        logits = unary + sum(q @ matrix for matrix in matrices)
        q = np.exp(logits - logits.max(0))
        q /= q.sum(0)
    return q[1]


def peer(heat, image):
    p = np.clip(heat.ravel(), CLIP, 1 - CLIP)
    crf = dcrf.DenseCRF(heat.size, 2)
    crf.setUnaryEnergy(-np.log(np.stack([1 - p, p])).astype(np.float32))
    crf.addPairwiseEnergy(np.ascontiguousarray(features(image, True), dtype=np.float32), compat=BILATERAL[2])
    return np.array(crf.inference(ITERATIONS))[1]


cases = []
for name, (heatmap, image) in {
    "image": case((33, 38), 0.06),
    "noisy": case((30, 27), 0.15),
    "row": case((80,), 0.05),
    "volume": case((8, 12, 11), 0.06),
}.items():
    heat = (heatmap.astype(np.float32) / np.float32(65535)).astype(float)
    grey = (image.astype(np.float32) / np.float32(255)).astype(float)
    cases.append(
        {
            "name": name,
            "shape": list(heat.shape),
            "heatmap": heatmap.ravel().tolist(),
            "image": image.ravel().tolist(),
            "gaussian": plain(heat, grey, [(False, GAUSSIAN[1])]).round(7).tolist(),
            "bilateral": plain(heat, grey, [(True, BILATERAL[2])]).round(7).tolist(),
            "pydensecrf_bilateral": peer(heat, grey).astype(float).round(7).tolist(),
        }
    )

target = pathlib.Path(__file__).with_name("dense_crf.json")
made_by = {"pydensecrf": importlib.metadata.version("pydensecrf"), "numpy": np.__version__}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
for case in cases:
    off = np.abs(np.array(case["bilateral"]) - case["pydensecrf_bilateral"])
    print(case["name"], "lattice against all pairs:", off.mean(), off.max())
