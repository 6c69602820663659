"""Makes colour.json: heatmaps refined against images of several channels, and walks with a spacing.

Run with scikit-image 0.26.0, SciPy 1.17.1, numpy 2.4.6 and pydensecrf 1.0rc3 (see make_dense_crf.py):

    python crates/heatmap-seg/tests/goldens/make_colour.py

Heatmaps are stored in 65535ths and images in 255ths; their values are the f32 quotients.
"""

import importlib.metadata
import json
import pathlib
import warnings

import numpy as np
import pydensecrf.densecrf as dcrf
import scipy
import skimage
from scipy import ndimage
from skimage.filters import sobel
from skimage.segmentation import random_walker, slic, watershed

warnings.simplefilter("ignore")
rng = np.random.default_rng(20264)
SPACINGS = {2: (2.5, 0.7), 3: (3.0, 1.0, 0.6)}
CLIP, ITERATIONS, SIGMA, TAU, WEIGHT = 0.01, 5, 6.0, 0.15, 4.0


def case(shape, channels, noise):
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    lesion = sum((axis - 0.1) ** 2 for axis in axes) < 0.35
    planes = [
        0.4 + contrast * lesion + noise * ndimage.gaussian_filter(rng.standard_normal(shape), 0.7)
        for contrast in (0.3, -0.15, 0.05)[:channels]
    ]
    heatmap = np.exp(-2.5 * sum((axis + 0.05) ** 2 for axis in axes))
    heatmap = (heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())
    image = np.rint(np.clip(np.stack(planes, axis=-1), 0, 1) * 255).astype(int)
    return np.rint(heatmap * 65535).astype(int), image


def guided(image, heatmap, radius, epsilon):
    """He 2010, equations 19 to 21, window by window."""
    shape, channels = heatmap.shape, image.shape[-1]
    windows = [tuple(slice(max(0, at - radius), at + radius + 1) for at in index) for index in np.ndindex(shape)]
    slopes, offsets = np.empty((*shape, channels)), np.empty(shape)
    for index, window in zip(np.ndindex(shape), windows):
        colours, heat = image[window].reshape(-1, channels), heatmap[window].ravel()
        mean = colours.mean(0)
        covariance = (colours.T @ heat) / len(heat) - mean * heat.mean()
        matrix = (colours.T @ colours) / len(heat) - np.outer(mean, mean) + epsilon * np.eye(channels)
        slopes[index] = np.linalg.solve(matrix, covariance)
        offsets[index] = heat.mean() - slopes[index] @ mean
    mean_slopes = np.array([slopes[window].reshape(-1, channels).mean(0) for window in windows])
    mean_offsets = np.array([offsets[window].mean() for window in windows])
    return np.clip((mean_slopes * image.reshape(-1, channels)).sum(1) + mean_offsets, 0, 1)


def pairs(heat, image):
    """The features of pydensecrf's bilateral kernel, the unary energies, and the mean field over all pairs."""
    features = [axis.ravel() / SIGMA for axis in np.indices(heat.shape)[::-1]]
    features += [(plane - image.min()).ravel() / TAU for plane in np.moveaxis(image, -1, 0)]
    f = np.array(features)
    p = np.clip(heat.ravel(), CLIP, 1 - CLIP)
    unary = np.stack([np.log(1 - p), np.log(p)])
    k = np.exp(-0.5 * ((f[:, :, None] - f[:, None, :]) ** 2).sum(0))
    norm = 1 / np.sqrt(k.sum(1))
    k = WEIGHT * norm[:, None] * k * norm
    q = np.exp(unary)
    for _ in range(ITERATIONS):
        logits = unary + q @ k
        q = np.exp(logits - logits.max(0))
        q /= q.sum(0)
    return f, unary, q[1]


def peer(f, unary):
    crf = dcrf.DenseCRF(unary.shape[1], 2)
    crf.setUnaryEnergy(-unary.astype(np.float32))
    crf.addPairwiseEnergy(np.ascontiguousarray(f, dtype=np.float32), compat=WEIGHT)
    return np.array(crf.inference(ITERATIONS), dtype=float)[1]


def rounded(values):
    return np.asarray(values).ravel().round(7).tolist()


cases = []
for name, (heatmap, image) in {
    "rgb": case((23, 27), 3, 0.15),
    "two channels": case((19, 24), 2, 0.2),
    "rgb volume": case((7, 9, 10), 3, 0.15),
}.items():
    heat = (heatmap.astype(np.float32) / np.float32(65535)).astype(float)
    values = (image.astype(np.float32) / np.float32(255)).astype(float)
    seeds = np.where(heat > np.float32(0.7), 2, np.where(heat <= np.float32(0.2), 1, 0))
    spacing = SPACINGS[heat.ndim]

    def walk(image, **settings):
        return rounded(random_walker(image, seeds, mode="bf", return_full_prob=True, **settings)[1])

    # scikit-image's sobel is one of a grey image; Di Zenzo's sum over the channels makes one gradient of theirs.
    gradient = np.sqrt(np.mean([sobel(plane) ** 2 for plane in np.moveaxis(values, -1, 0)], axis=0))
    f, unary, field = pairs(heat, values)
    cases.append(
        {
            "name": name,
            "shape": list(values.shape),
            "heatmap": heatmap.ravel().tolist(),
            "image": image.ravel().tolist(),
            "spacing": list(spacing),
            "guided": rounded(guided(values, heat, 3, 1e-3)),
            "walker": walk(values, channel_axis=-1),
            "walker_spaced": walk(values, channel_axis=-1, spacing=spacing),
            "walker_grey_spaced": walk(np.ascontiguousarray(values[..., 0]), spacing=spacing),
            "watershed": "".join(str(label - 1) for label in watershed(gradient, seeds).ravel()),
            "slic": slic(values, 30, 0.2, channel_axis=-1, convert2lab=False, start_label=0).ravel().tolist(),
            "dense_crf": rounded(field),
            "pydensecrf": rounded(peer(f, unary)),
        }
    )
    print(name, "lattice against all pairs:", np.abs(field - cases[-1]["pydensecrf"]).mean())

target = pathlib.Path(__file__).with_name("colour.json")
packages = {"scikit-image": skimage.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
made_by = packages | {"pydensecrf": importlib.metadata.version("pydensecrf")}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
print(f"{target}: {len(cases)} cases")
