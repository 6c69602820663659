"""Makes surface_elements.json: the area (2-D: length) of the surface around a corner of voxels for each pattern of which
voxels around it are inside, by the tables of surface-distance 0.1. Run with numpy 2.4.6:

    python crates/seg-metrics/tests/goldens/surface_elements.py
"""

import json
import pathlib

import numpy as np

# surface-distance 0.1 was written for older versions of numpy, which had these names.
np.Inf, np.NaN = np.inf, np.nan

from surface_distance import lookup_tables

SPACING = (1.5, 1.1, 0.7)

goldens = {
    "spacing": SPACING,
    "areas": lookup_tables.create_table_neighbour_code_to_surface_area(SPACING).tolist(),
    "lengths": lookup_tables.create_table_neighbour_code_to_contour_length(SPACING[1:]).tolist(),
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(goldens) + "\n")
