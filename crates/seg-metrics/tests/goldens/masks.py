"""Makes masks.json: scores of 220 pairs of masks by the libraries that others use.

Run with MedPy 0.5.2, MONAI 1.6.1, surface-distance 0.1, scikit-image 0.26.0, scikit-learn 1.9.1,
torchmetrics 1.9.0, SciPy 1.17.1, numpy 2.4.6 and torch 2.11.0 (about a minute):

    python crates/seg-metrics/tests/goldens/masks.py

The masks are not stored: `pair` draws them from an integer formula that `tests/seg_metrics/pairs.rs`
repeats. MetricsReloaded is not on PyPI, so what is named after it is written here from its paper's formulas
(10.1038/s41592-023-02151-z).
"""

import json
import pathlib
import warnings

import numpy as np
import scipy
import skimage
import sklearn
import torch
import torchmetrics
from scipy import ndimage

# surface-distance 0.1 was written for older versions of numpy and SciPy, which had these names.
np.Inf, np.NaN = np.inf, np.nan
ndimage.filters, ndimage.morphology = ndimage, ndimage

import medpy.metric.binary as medpy
import monai
import surface_distance
from skimage import metrics as skimage_metrics
from skimage import morphology
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional import classification, detection

warnings.simplefilter("ignore")

SPACINGS = {
    2: [(1.0, 1.0), (0.5, 0.5), (1.5, 1.0), (0.7, 1.3), (3.0, 0.9)],
    3: [(1.0, 1.0, 1.0), (1.5, 1.0, 1.0), (0.7, 1.3, 2.5), (5.0, 0.9, 0.9), (1.0, 1.0, 2.0)],
}
CASES = 220


class Draw:
    """A linear congruential generator with Knuth's constants for 64 bits."""

    def __init__(self, seed):
        self.state = seed
        self(1)
        self(1)

    def __call__(self, below):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % below


def blobs(draw, shape, count):
    mask = np.zeros(shape, bool)
    grid = np.indices(shape)
    for _ in range(count):
        centre = [draw(n) for n in shape]
        radius = [1 + draw(max(1, n // 2)) for n in shape]
        whole = int(np.prod([r * r for r in radius]))
        total = sum((grid[a] - centre[a]) ** 2 * (whole // radius[a] ** 2) for a in range(len(shape)))
        mask |= total <= whole
    return mask


def noise(draw, shape, eighths):
    return np.array([draw(8) < eighths for _ in range(int(np.prod(shape)))]).reshape(shape)


def one(draw, shape):
    mask = np.zeros(shape, bool)
    mask[tuple(draw(n) for n in shape)] = True
    return mask


def pair(number):
    draw = Draw(number)
    axes = 2 + number % 2
    if axes == 2:
        shape = (8 + draw(33), 8 + draw(41))
    else:
        shape = (3 + draw(8), 5 + draw(12), 5 + draw(14))
    spacing = SPACINGS[axes][draw(5)]
    none, full = np.zeros(shape, bool), np.ones(shape, bool)
    kind = number // 2 % 11
    if kind == 0:
        prediction, truth = blobs(draw, shape, 1), blobs(draw, shape, 1)
    elif kind == 1:
        prediction, truth = blobs(draw, shape, 2), blobs(draw, shape, 3)
    elif kind == 2:
        truth = blobs(draw, shape, 2)
        prediction = np.zeros(shape, bool)
        prediction[..., 1:] = truth[..., :-1]
    elif kind == 3:
        prediction, truth = noise(draw, shape, 3), noise(draw, shape, 3)
    elif kind == 4:
        prediction, truth = none, blobs(draw, shape, 1)
    elif kind == 5:
        prediction, truth = blobs(draw, shape, 1), none
    elif kind == 6:
        prediction, truth = none, none
    elif kind == 7:
        prediction, truth = full, blobs(draw, shape, 2)
    elif kind == 8:
        prediction, truth = one(draw, shape), one(draw, shape)
    elif kind == 9:
        prediction, truth = noise(draw, shape, 1), noise(draw, shape, 1)
    else:
        truth = blobs(draw, shape, 4)
        prediction = truth ^ noise(draw, shape, 1)
    return prediction, truth, spacing


def overlap(prediction, truth):
    tp, fp = int((prediction & truth).sum()), int((prediction & ~truth).sum())
    fn, tn = int((~prediction & truth).sum()), int((~prediction & ~truth).sum())
    result = {"counts": [tp, fp, fn, tn]}
    p, t = prediction.ravel(), truth.ravel()
    if p.any() and t.any():
        result |= {
            "dice": medpy.dc(prediction, truth),
            "iou": medpy.jc(prediction, truth),
            "precision": medpy.precision(prediction, truth),
            "recall": medpy.recall(prediction, truth),
            "relative_volume_error": medpy.ravd(prediction, truth),
            # Taha & Hanbury 2015, 10.1186/s12880-015-0068-x.
            "volumetric_similarity": 1 - abs(fn - fp) / (2 * tp + fp + fn),
            "f2": sklearn_metrics.fbeta_score(t, p, beta=2),
            # Salehi et al. 2017, arXiv:1706.05721.
            "tversky": tp / (tp + 0.3 * fp + 0.7 * fn),
        }
    if not p.all() or not t.all():
        result["specificity"] = medpy.specificity(prediction, truth) if not t.all() else None
    if len(set(p) | set(t)) == 2:
        result["kappa"] = sklearn_metrics.cohen_kappa_score(t, p)
    if len(set(p)) == 2 and len(set(t)) == 2:
        result["mcc"] = sklearn_metrics.matthews_corrcoef(t, p)
        # torchmetrics agrees, in f32.
        binary = [torch.from_numpy(x.astype(int)) for x in (p, t)]
        assert abs(classification.binary_matthews_corrcoef(*binary) - result["mcc"]) < 1e-5
        assert abs(classification.binary_cohen_kappa(*binary) - result["kappa"]) < 1e-5
        assert abs(classification.binary_f1_score(*binary) - result["dice"]) < 1e-5
    result["adjusted_rand"] = sklearn_metrics.adjusted_rand_score(t, p)
    result["variation_of_information"] = skimage_metrics.variation_of_information(
        truth.astype(int), prediction.astype(int)
    ).tolist()
    return result


def edges(mask, rank):
    return mask ^ ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, rank))


def directed(mask, other, spacing, rank=1):
    return ndimage.distance_transform_edt(~edges(other, rank), sampling=spacing)[edges(mask, rank)]


def by_area(surfaces, percent):
    """compute_robust_hausdorff, but a share that is reached exactly counts as reached.

    surface-distance compares a rounded cumulative sum with a rounded share, so that at 19 of 20 equal
    elements the last bit decides.
    """
    sides = []
    for distance, area in [("distances_gt_to_pred", "surfel_areas_gt"), ("distances_pred_to_gt", "surfel_areas_pred")]:
        cumulative = np.cumsum(surfaces[area]) / surfaces[area].sum()
        sides.append(surfaces[distance][min(np.searchsorted(cumulative, percent / 100 - 1e-12), len(cumulative) - 1)])
    value, theirs = max(sides), surface_distance.compute_robust_hausdorff(surfaces, percent)
    return float(value), float(theirs)


def surface(prediction, truth, spacing):
    there, back = directed(prediction, truth, spacing), directed(truth, prediction, spacing)
    spread = float(max(there.max(), back.max()))
    tolerance = round(0.4 * spread + 0.05, 3)
    surfaces = surface_distance.compute_surface_distances(truth, prediction, spacing)
    average_truth, average_prediction = surface_distance.compute_average_surface_distance(surfaces)
    result = {
        "tolerance": tolerance,
        "hausdorff": medpy.hd(prediction, truth, spacing),
        "hd95_pooled": medpy.hd95(prediction, truth, spacing),
        "assd": medpy.assd(prediction, truth, spacing),
        "asd": medpy.asd(prediction, truth, spacing),
        "asd_back": medpy.asd(truth, prediction, spacing),
        # MetricsReloaded's.
        "masd": float(there.mean() + back.mean()) / 2,
        "hd95_max": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "hd75_directed": float(np.percentile(there, 75)),
        "nsd_voxels": float(((there <= tolerance).sum() + (back <= tolerance).sum()) / (len(there) + len(back))),
        "nsd_elements": float(surface_distance.compute_surface_dice_at_tolerance(surfaces, tolerance)),
        "mean_by_area": float(average_prediction),
        "mean_by_area_back": float(average_truth),
        "hd_edges": medpy.hd(prediction, truth, spacing, connectivity=2),
        "assd_corners": medpy.assd(prediction, truth, spacing, connectivity=3),
    }
    ties = 0
    for percent in [95, 50, 100]:
        value, theirs = by_area(surfaces, percent)
        result[f"hd{percent}_elements"] = value
        ties += value != theirs
    # MONAI computes in f32, so it only confirms.
    one_hot = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    for name, value in {
        "hausdorff": monai.metrics.compute_hausdorff_distance(*one_hot, True, spacing=spacing),
        "hd95_max": monai.metrics.compute_hausdorff_distance(*one_hot, True, percentile=95, spacing=spacing),
        "assd": monai.metrics.compute_average_surface_distance(*one_hot, True, symmetric=True, spacing=spacing),
        "nsd_voxels": monai.metrics.compute_surface_dice(*one_hot, [tolerance], True, spacing=spacing),
        "nsd_elements": monai.metrics.compute_surface_dice(
            *one_hot, [tolerance], True, spacing=spacing, use_subvoxels=True
        ),
    }.items():
        assert abs(value.item() - result[name]) <= 1e-4 * max(1, spread), (name, value, result[name])
    return result, ties


def centreline(prediction, truth):
    """clDice by the paper's formula over scikit-image's thinning, and what identifies the skeleton.

    Nothing where scikit-image's skeleton has lost a component, which Lee's thinning never does: its second
    look at a voxel takes one without neighbours for one that may go.
    """
    lines = [morphology.skeletonize(mask, method="lee") > 0 for mask in (prediction, truth)]
    around = ndimage.generate_binary_structure(truth.ndim, truth.ndim)
    for mask, line in zip((prediction, truth), lines):
        if ndimage.label(mask, around)[1] != ndimage.label(line, around)[1]:
            return {}
    at = np.flatnonzero(lines[1])
    precision, sensitivity = (lines[0] & truth).sum() / lines[0].sum(), (lines[1] & prediction).sum() / lines[1].sum()
    total = precision + sensitivity
    return {
        "skeleton": [len(at), int((at * at).sum())],
        "cl_dice": float(2 * precision * sensitivity / total) if total > 0 else 0.0,
    }


def lesions(prediction, truth):
    """Detection by scipy's components; panoptic quality by its formula, near which torchmetrics is, in f32."""
    labels = [ndimage.label(mask)[0] for mask in (prediction, truth)]
    counts = [int(label.max()) for label in labels]
    found = len(set(labels[1][prediction & truth].tolist()))
    right = len(set(labels[0][prediction & truth].tolist()))
    pairs, shared = np.unique(np.stack(labels)[:, prediction & truth], axis=1, return_counts=True)
    unions = [(labels[0] == p).sum() + (labels[1] == t).sum() for p, t in pairs.T] - shared
    ious = (shared / unions)[2 * shared > unions]
    sq = float(ious.mean()) if len(ious) else 0.0
    rq = 2 * len(ious) / sum(counts)
    maps = [torch.from_numpy(np.stack([label > 0, label], -1).astype(int)).flatten(0, -2)[None] for label in labels]
    peer = detection.panoptic_quality(*maps, {1}, {0}, return_per_class=True, return_sq_and_rq=True)[0].tolist()
    np.testing.assert_allclose([sq * rq, sq, rq], peer, atol=1e-6)
    return {"detection": [found, counts[1] - found, right, counts[0] - right], "panoptic": [sq, rq, sq * rq]}


def empties(prediction, truth):
    """What each library answers where a mask is empty; "error" where it raises one."""

    def asked(function):
        try:
            value = float(function())
        except RuntimeError:
            return "error"
        return "nan" if np.isnan(value) else "inf" if np.isinf(value) else value

    one_hot = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    spacing = (1.0,) * truth.ndim
    surfaces = surface_distance.compute_surface_distances(truth, prediction, spacing)
    return {
        "monai_dice": asked(lambda: monai.metrics.compute_dice(*one_hot)),
        "monai_dice_all": asked(lambda: monai.metrics.compute_dice(*one_hot, ignore_empty=False)),
        "monai_hausdorff": asked(lambda: monai.metrics.compute_hausdorff_distance(*one_hot, True, spacing=spacing)),
        "monai_hd95": asked(
            lambda: monai.metrics.compute_hausdorff_distance(*one_hot, True, percentile=95, spacing=spacing)
        ),
        "monai_surface_dice": asked(
            lambda: monai.metrics.compute_surface_dice(*one_hot, [1.0], True, spacing=spacing)
        ),
        # Not `dc`: it relies on an error that numpy 2 integers do not raise, and answers NaN instead of its 1.
        "medpy_iou": asked(lambda: medpy.jc(prediction, truth)),
        "medpy_hausdorff": asked(lambda: medpy.hd(prediction, truth)),
        "surface_distance_dice": asked(lambda: surface_distance.compute_dice_coefficient(truth, prediction)),
        "surface_distance_hausdorff": asked(lambda: surface_distance.compute_robust_hausdorff(surfaces, 95)),
        "surface_distance_surface_dice": asked(
            lambda: surface_distance.compute_surface_dice_at_tolerance(surfaces, 1.0)
        ),
    }


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, (float, np.floating)) else value


cases, ties = [], 0
for number in range(CASES):
    prediction, truth, spacing = pair(number)
    case = {"overlap": overlap(prediction, truth)}
    case["components"] = [int(ndimage.label(truth, ndimage.generate_binary_structure(truth.ndim, r))[1]) for r in (1, 2, 3)]
    if not (prediction.any() and truth.any()):
        case["empty"] = empties(prediction, truth)
    if prediction.any() and truth.any():
        case["surface"], tied = surface(prediction, truth, spacing)
        ties += tied
        case |= centreline(prediction, truth) | lesions(prediction, truth)
        distances = ndimage.distance_transform_edt(~truth, sampling=spacing)
        case["transform"] = [float(distances.sum()), float(distances.max())]
    cases.append(rounded(case))

made_by = {
    "MedPy": "0.5.2",
    "MONAI": monai.__version__,
    "surface-distance": "0.1",
    "scikit-image": skimage.__version__,
    "scikit-learn": sklearn.__version__,
    "torchmetrics": torchmetrics.__version__,
    "SciPy": scipy.__version__,
    "numpy": np.__version__,
    "torch": torch.__version__,
}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
path = pathlib.Path(__file__).parent / "masks.json"
path.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
lost = sum("surface" in case and "skeleton" not in case for case in cases)
print(f"scikit-image lost a component of the skeleton in {lost} cases")
print(f"{len(cases)} cases, {path.stat().st_size} bytes; {ties} percentiles by area fell on a tie of surface-distance")
