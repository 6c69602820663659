"""Makes refined.json: heatmaps refined against their images by scikit-image and by He's filter.

Run with scikit-image 0.26.0, SciPy 1.17.1 and numpy 2.4.6:

    python crates/heatmap-seg/tests/goldens/make_refined.py

Heatmaps are stored in 65535ths and images in 255ths; their values are the f32 quotients.
"""

import json
import pathlib
import warnings

import numpy as np
import scipy
import skimage
from scipy import ndimage
from skimage.filters import sobel
from skimage.segmentation import random_walker, watershed

warnings.simplefilter("ignore")
rng = np.random.default_rng(20262)


def case(shape, contrast, noise):
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    lesion = sum((axis - 0.1) ** 2 for axis in axes) < 0.35
    image = 0.4 + contrast * lesion + noise * ndimage.gaussian_filter(rng.standard_normal(shape), 0.7)
    heatmap = np.exp(-2.5 * sum((axis + 0.05) ** 2 for axis in axes))
    heatmap = (heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())
    heatmap = np.rint(heatmap * 65535).astype(int)
    image = np.rint(np.clip(image, 0, 1) * 255).astype(int)
    return heatmap, image


def guided(image, heatmap, radius, epsilon):
    """He 2010, Algorithm 1, window by window."""
    windows = [
        tuple(slice(max(0, at - radius), at + radius + 1) for at in index) for index in np.ndindex(image.shape)
    ]

    def mean(array):
        return np.array([array[window].mean() for window in windows]).reshape(array.shape)

    covariance = mean(image * heatmap) - mean(image) * mean(heatmap)
    a = covariance / (mean(image * image) - mean(image) ** 2 + epsilon)
    b = mean(heatmap) - a * mean(image)
    return np.clip(mean(a) * image + mean(b), 0, 1)


cases = []
for name, (heatmap, image) in {
    "image": case((33, 29), 0.3, 0.2),
    "faint": case((24, 31), 0.08, 0.25),
    "row": case((60,), 0.4, 0.2),
    "volume": case((8, 11, 10), 0.3, 0.2),
}.items():
    heat = (heatmap.astype(np.float32) / np.float32(65535)).astype(float)
    grey = (image.astype(np.float32) / np.float32(255)).astype(float)
    seeds = np.where(heat > np.float32(0.7), 2, np.where(heat <= np.float32(0.2), 1, 0))
    entry = {
        "name": name,
        "shape": list(heat.shape),
        "heatmap": heatmap.ravel().tolist(),
        "image": image.ravel().tolist(),
        "guided": [guided(grey, heat, r, e).ravel().round(7).tolist() for r, e in ((2, 1e-2), (4, 1e-4))],
    }
    if heat.ndim > 1:  # scikit-image's walks are in 2-D and 3-D
        entry["walker"] = [
            random_walker(grey, seeds, beta=beta, mode="bf", return_full_prob=True)[1].ravel().round(7).tolist()
            for beta in (20, 130)
        ]
    # Of one axis scikit-image returns the signed slope, no magnitude.
    entry["watershed"] = [
        "".join("01"[label - 1] for label in watershed(np.abs(sobel(grey)), seeds, connectivity=rank).ravel())
        for rank in (1, heat.ndim)
    ]
    cases.append(entry)

target = pathlib.Path(__file__).with_name("refined.json")
made_by = {"scikit-image": skimage.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
print(f"{target}: {len(cases)} cases")
