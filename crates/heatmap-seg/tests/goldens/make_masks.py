"""Makes masks.json: masks after each step of cleaning up by scikit-image and SciPy.

Run with scikit-image 0.26.0, SciPy 1.17.1 and numpy 2.4.6:

    python crates/heatmap-seg/tests/goldens/make_masks.py
"""

import json
import pathlib

import numpy as np
import scipy
import skimage
from scipy import ndimage, spatial
from skimage import morphology

rng = np.random.default_rng(20261)


def noise(shape, share, smooth):
    field = ndimage.gaussian_filter(rng.random(shape), smooth)
    return field > np.quantile(field, 1 - share)


masks = {
    "blobs": noise((41, 37), 0.4, 2.0),
    "speckles": noise((30, 33), 0.3, 0.6),
    "dense": noise((30, 33), 0.75, 0.8),
    "sparse": noise((19, 23), 0.02, 0.4),
    "one pixel": np.eye(1, 40, 17, dtype=bool).reshape(5, 8),
    "empty": np.zeros((6, 7), bool),
    "full": np.ones((6, 7), bool),
    "row": noise((40,), 0.5, 1.0),
    "volume": noise((9, 14, 13), 0.4, 1.0),
    "dense volume": noise((9, 12, 13), 0.75, 0.6),
    "sparse volume": noise((8, 11, 9), 0.01, 0.4),
    "one voxel": np.eye(1, 60, 22, dtype=bool).reshape(3, 4, 5),
    "slanted line": np.array([[[z == y == x for x in range(6)] for y in range(6)] for z in range(6)]),
    "flat volume": np.stack([np.zeros((7, 8), bool), noise((7, 8), 0.2, 0.5), np.zeros((7, 8), bool)]),
}


def largest(mask, rank):
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, rank))
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def ball(mask, radius):
    steps = np.indices((2 * radius + 1,) * mask.ndim) - radius
    return (steps**2).sum(0) <= radius**2


def hull(mask):
    """Qhull's of the middles of all voxels' faces. scikit-image's is the same, but for flat sets, where it gives up."""
    if mask.ndim == 2 or not mask.any():
        return morphology.convex_hull_image(mask) if mask.any() else mask
    steps = np.concatenate([np.eye(mask.ndim), -np.eye(mask.ndim)]) / 2
    points = (np.argwhere(mask)[:, None] + steps).reshape(-1, mask.ndim)
    if mask.ndim == 1:
        return (np.arange(len(mask)) >= points.min()) & (np.arange(len(mask)) <= points.max())
    equations = spatial.ConvexHull(points).equations
    grid = np.indices(mask.shape).reshape(mask.ndim, -1)
    inside = (equations[:, :-1] @ grid + equations[:, -1:] < 1e-9).all(axis=0).reshape(mask.shape)
    if min(np.ptp(np.argwhere(mask), axis=0)) > 1 and mask.sum() > 6:
        assert (inside == morphology.convex_hull_image(mask)).all()
    return inside


def bits(mask):
    return "".join("01"[on] for on in mask.ravel().astype(int))


cases = []
for name, mask in masks.items():
    steps = []
    for rank, connectivity in enumerate(("faces", "edges", "corners")[: mask.ndim], 1):
        structure = ndimage.generate_binary_structure(mask.ndim, rank)
        own = {"connectivity": connectivity}
        for pixels in (2, 12):
            kept = morphology.remove_small_objects(mask, max_size=pixels - 1, connectivity=rank)
            steps.append(({"at_least": {"pixels": pixels} | own}, kept))
        steps.append(({"largest": own}, largest(mask, rank)))
        steps.append(({"fill_holes": own}, ndimage.binary_fill_holes(mask, structure)))
    for radius in (0, 1, 2, 3):
        footprint = ball(mask, radius)
        steps.append(({"open": {"radius": radius}}, morphology.opening(mask, footprint, mode="ignore")))
        steps.append(({"close": {"radius": radius}}, morphology.closing(mask, footprint, mode="ignore")))
    steps.append(("convex_hull", hull(mask)))
    cases.append(
        {
            "name": name,
            "shape": list(mask.shape),
            "mask": bits(mask),
            "steps": [{"step": step, "mask": bits(result)} for step, result in steps],
        }
    )

target = pathlib.Path(__file__).with_name("masks.json")
made_by = {"scikit-image": skimage.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
print(f"{target}: {sum(len(case['steps']) for case in cases)} steps")
