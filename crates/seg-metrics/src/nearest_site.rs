//! The exact distance of each voxel of one surface to the nearest voxel of another.
//!
//! Surfaces are thin, so a transform of the whole volume would do most of its work for nothing. Here the
//! voxels of a surface ("sites") lie in cells of 4³ voxels (8² pixels), cells in groups of 4³ and those
//! in groups again. Whole groups of queries discard whole groups of sites by the distances between their
//! boxes; few cells are left for a single query, which starts from its neighbour's answer.
//!
//! The search bounds distances in f32 from exact integer differences, with a slack far above its rounding;
//! whatever is within the slack is measured in f64. So the answer is the exact nearest distance, rounded
//! as SciPy rounds it.

use std::ops::Range;

use rayon::prelude::*;

use crate::bit_mask::BitMask;

/// Voxels along an axis: cells are numbered by 21 bits, and f32 holds the coordinates of twice as many.
pub(crate) const MOST: usize = (1 << 23) - 1;
const LANES: usize = 8;
/// Bounds in f32 are off by less than a millionth.
const SLACK: f32 = 1.0 + 4e-6;
/// Bits of a coordinate that number a cell within its group.
const DIGIT: usize = 2;

/// Coordinates along the three axes, in voxels.
type Coordinates = [Vec<f32>; 3];

/// Boxes around sites, each with one of its sites.
#[derive(Debug, Default)]
struct Boxes {
    low: Coordinates,
    high: Coordinates,
    site: Coordinates,
    /// What each box holds: boxes of the next finer level, or sites.
    holds: Vec<Range<usize>>,
}

impl Boxes {
    fn len(&self) -> usize {
        self.holds.len()
    }

    fn clear(&mut self) {
        for axis in 0..3 {
            self.low[axis].clear();
            self.high[axis].clear();
            self.site[axis].clear();
        }
        self.holds.clear();
    }

    fn push(&mut self, low: [f32; 3], high: [f32; 3], site: [f32; 3], holds: Range<usize>) {
        for axis in 0..3 {
            self.low[axis].push(low[axis]);
            self.high[axis].push(high[axis]);
            self.site[axis].push(site[axis]);
        }
        self.holds.push(holds);
    }

    fn extend(&mut self, from: &Boxes, range: Range<usize>) {
        for axis in 0..3 {
            self.low[axis].extend_from_slice(&from.low[axis][range.clone()]);
            self.high[axis].extend_from_slice(&from.high[axis][range.clone()]);
            self.site[axis].extend_from_slice(&from.site[axis][range.clone()]);
        }
        self.holds.extend_from_slice(&from.holds[range]);
    }

    fn low(&self, at: usize) -> [f32; 3] {
        [self.low[0][at], self.low[1][at], self.low[2][at]]
    }

    fn high(&self, at: usize) -> [f32; 3] {
        [self.high[0][at], self.high[1][at], self.high[2][at]]
    }

    fn site(&self, at: usize) -> [f32; 3] {
        [self.site[0][at], self.site[1][at], self.site[2][at]]
    }

    /// The boxes around these boxes, `holds` of them at a time.
    fn around(finer: &Boxes, groups: Vec<Range<usize>>) -> Self {
        let mut boxes = Boxes::default();
        for group in groups {
            let (mut low, mut high) = (finer.low(group.start), finer.high(group.start));
            for at in group.clone() {
                for axis in 0..3 {
                    low[axis] = lesser(low[axis], finer.low[axis][at]);
                    high[axis] = greater(high[axis], finer.high[axis][at]);
                }
            }
            // Of all the sites at hand, the one in the middle of the list.
            let middle = group.start + group.len() / 2;
            boxes.push(low, high, finer.site(middle), group);
        }
        boxes
    }
}

/// The voxels of a surface, sorted into cells.
#[derive(Debug)]
pub(crate) struct Sites {
    /// Cell by cell, each filled up to whole lanes with copies of its last site.
    at: Coordinates,
    cells: Boxes,
    groups: Boxes,
    regions: Boxes,
}

impl Sites {
    pub(crate) fn new(surface: &BitMask) -> Self {
        // Coordinates within a cell: 4 x 4 x 4 voxels or 8 x 8 pixels, at most 64.
        let (bits_z, bits) = if surface.axes() == 3 { (2, 2) } else { (0, 3) };
        let [depth, height, _] = surface.shape();
        let mut keys = Vec::new();
        let mut any = vec![0; surface.words()];
        for cell_z in 0..depth.div_ceil(1 << bits_z) {
            let planes = cell_z << bits_z..((cell_z + 1) << bits_z).min(depth);
            for cell_y in 0..height.div_ceil(1 << bits) {
                let rows = cell_y << bits..((cell_y + 1) << bits).min(height);
                any.fill(0);
                for z in planes.clone() {
                    for y in rows.clone() {
                        for (any, word) in any.iter_mut().zip(surface.row(z, y)) {
                            *any |= word;
                        }
                    }
                }
                for (at, &any) in any.iter().enumerate() {
                    let mut left = any;
                    while left != 0 {
                        let cell = left.trailing_zeros() as usize >> bits;
                        keys.push(key([cell_z, cell_y, ((at * 64) >> bits) + cell]));
                        left &= !(((1 << (1 << bits)) - 1) << (cell << bits));
                    }
                }
            }
        }
        keys.sort_unstable();

        let mut at = Coordinates::default();
        let mut cells = Boxes::default();
        for &key in &keys {
            let [cell_z, cell_y, cell_x] = cell_of(key);
            let start = at[0].len();
            let first = cell_x << bits;
            for z in cell_z << bits_z..((cell_z + 1) << bits_z).min(depth) {
                for y in cell_y << bits..((cell_y + 1) << bits).min(height) {
                    let mut left = surface.row(z, y)[first / 64] >> (first % 64) & ((1 << (1 << bits)) - 1);
                    while left != 0 {
                        let x = first + left.trailing_zeros() as usize;
                        left &= left - 1;
                        at[0].push(z as f32);
                        at[1].push(y as f32);
                        at[2].push(x as f32);
                    }
                }
            }
            let end = at[0].len();
            let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
            for axis in 0..3 {
                for &coordinate in &at[axis][start..end] {
                    low[axis] = lesser(low[axis], coordinate);
                    high[axis] = greater(high[axis], coordinate);
                }
            }
            let middle = (start + end) / 2;
            cells.push(low, high, [at[0][middle], at[1][middle], at[2][middle]], start..end);
            for coordinates in &mut at {
                let last = coordinates[end - 1];
                coordinates.resize(end.next_multiple_of(LANES), last);
            }
        }
        let groups_of = |digits: usize| {
            let mut groups: Vec<Range<usize>> = Vec::new();
            let mut numbers: Vec<u64> = keys.iter().map(|key| key >> (3 * DIGIT * digits)).collect();
            if digits > 1 {
                // A region holds groups, which are numbered by their first cells.
                numbers = keys
                    .chunk_by(|left, right| left >> (3 * DIGIT) == right >> (3 * DIGIT))
                    .map(|group| group[0] >> (3 * DIGIT * digits))
                    .collect();
            }
            let mut start = 0;
            for same in numbers.chunk_by(|left, right| left == right) {
                groups.push(start..start + same.len());
                start += same.len();
            }
            groups
        };
        let groups = Boxes::around(&cells, groups_of(1));
        let regions = Boxes::around(&groups, groups_of(2));
        Sites {
            at,
            cells,
            groups,
            regions,
        }
    }

    /// The coordinates of the sites in the order in which [`distances`](Sites::distances) answers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = [usize; 3]> {
        let cells = self.cells.holds.iter().cloned();
        cells
            .flatten()
            .map(|site| [0, 1, 2].map(|axis| self.at[axis][site] as usize))
    }

    /// The distance of each of these sites to the nearest of the others, of which there is at least one.
    pub(crate) fn distances(&self, others: &Sites, spacing: [f64; 3]) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = (0..self.groups.len())
            .into_par_iter()
            .map_init(
                || Search::new(others, spacing),
                |search, group| search.group(self, group),
            )
            .collect();
        parts.concat()
    }
}

/// A number by which cells sort group by group: the coordinates in the coarsest grid, then their digits.
fn key([z, y, x]: [usize; 3]) -> u64 {
    let digits = |shift: usize, mask: usize, bits: usize| {
        let part = |coordinate: usize| (coordinate >> shift & mask) as u64;
        (part(z) << (2 * bits)) | (part(y) << bits) | part(x)
    };
    (digits(2 * DIGIT, usize::MAX >> (2 * DIGIT), 17) << (6 * DIGIT))
        | (digits(DIGIT, 3, DIGIT) << (3 * DIGIT))
        | digits(0, 3, DIGIT)
}

fn cell_of(key: u64) -> [usize; 3] {
    let part = |shift: usize, bits: usize| (key >> shift) as usize & ((1 << bits) - 1);
    [2, 1, 0].map(|axis| {
        (part(6 * DIGIT + 17 * axis, 17) << (2 * DIGIT))
            | (part(3 * DIGIT + DIGIT * axis, DIGIT) << DIGIT)
            | part(DIGIT * axis, DIGIT)
    })
}

/// One thread's search among sites, with the memory that it uses again and again.
struct Search<'a> {
    sites: &'a Sites,
    spacing: [f64; 3],
    /// What a squared distance is multiplied by for bounding, so that no spacing leaves the range of f32.
    scale: f64,
    weights: [f32; 3],
    /// Squared bounds from below and above, one per box in question.
    below: Vec<f32>,
    above: Vec<f32>,
    kept: Vec<usize>,
    groups: Boxes,
    cells: Boxes,
    near: Boxes,
}

impl<'a> Search<'a> {
    fn new(sites: &'a Sites, spacing: [f64; 3]) -> Self {
        let longest = spacing.into_iter().fold(0.0, f64::max);
        Search {
            sites,
            spacing,
            scale: longest.powi(-2),
            weights: spacing.map(|step| (step / longest).powi(2) as f32),
            below: Vec::new(),
            above: Vec::new(),
            kept: Vec::new(),
            groups: Boxes::default(),
            cells: Boxes::default(),
            near: Boxes::default(),
        }
    }

    /// The distances of all sites in a group of queries.
    fn group(&mut self, queries: &Sites, group: usize) -> Vec<f64> {
        let (low, high) = (queries.groups.low(group), queries.groups.high(group));
        let sites = self.sites;
        self.bound_below(&sites.regions, low, high);
        let within = self.bound_above(&sites.regions, low, high);
        let mut groups = std::mem::take(&mut self.groups);
        groups.clear();
        for &at in self.within(within) {
            groups.extend(&sites.groups, sites.regions.holds[at].clone());
        }
        self.bound_below(&groups, low, high);
        let within = self.bound_above(&groups, low, high);
        let mut cells = std::mem::take(&mut self.cells);
        cells.clear();
        for &at in self.within(within) {
            cells.extend(&sites.cells, groups.holds[at].clone());
        }
        self.groups = groups;

        let mut distances = Vec::new();
        let mut site = cells.holds[0].start;
        for cell in queries.groups.holds[group].clone() {
            site = self.cell(queries, cell, &cells, site, &mut distances);
        }
        self.cells = cells;
        distances
    }

    /// The distances of all sites in a cell of queries, among cells that hold their nearest sites. Starts from
    /// any site and answers the last one found.
    fn cell(
        &mut self,
        queries: &Sites,
        cell: usize,
        cells: &Boxes,
        mut site: usize,
        distances: &mut Vec<f64>,
    ) -> usize {
        let range = queries.cells.holds[cell].clone();
        let query = |at: usize| [0, 1, 2].map(|axis| queries.at[axis][at]);
        let first = query(range.start);
        let squared;
        (squared, site) = self.nearest(cells, first, site);
        distances.push(squared.sqrt());
        if range.len() == 1 {
            return site;
        }
        // No query of this cell is further from a site than the first one is, and the way there.
        let (low, high) = (queries.cells.low(cell), queries.cells.high(cell));
        let way: f32 = (0..3)
            .map(|axis| {
                let step = greater(first[axis] - low[axis], high[axis] - first[axis]);
                self.weights[axis] * step * step
            })
            .sum();
        let within = ((squared * self.scale).sqrt() as f32 + way.sqrt()).powi(2) * SLACK * SLACK;
        self.bound_below(cells, low, high);
        let mut near = std::mem::take(&mut self.near);
        near.clear();
        for &at in self.within(within) {
            near.push(cells.low(at), cells.high(at), cells.site(at), cells.holds[at].clone());
        }
        for at in range.skip(1) {
            let squared;
            (squared, site) = self.nearest(&near, query(at), site);
            distances.push(squared.sqrt());
        }
        self.near = near;
        site
    }

    /// Which of the boxes bounded last have a lower bound of at most `limit`.
    fn within(&mut self, limit: f32) -> &[usize] {
        self.kept.resize(self.below.len(), 0);
        let mut count = 0;
        // Without a branch: which boxes are near is as good as random.
        for (at, &below) in self.below.iter().enumerate() {
            self.kept[count] = at;
            count += usize::from(below <= limit);
        }
        &self.kept[..count]
    }

    /// Bounds the squared distances of the points in a box to each of several others from below.
    fn bound_below(&mut self, boxes: &Boxes, low: [f32; 3], high: [f32; 3]) {
        let count = boxes.len();
        self.below.resize(count, 0.0);
        let below = &mut self.below[..count];
        let [low_z, low_y, low_x] = [0, 1, 2].map(|axis| &boxes.low[axis][..count]);
        let [high_z, high_y, high_x] = [0, 1, 2].map(|axis| &boxes.high[axis][..count]);
        let [wz, wy, wx] = self.weights;
        for at in 0..count {
            let z = greater(greater(low_z[at] - high[0], low[0] - high_z[at]), 0.0);
            let y = greater(greater(low_y[at] - high[1], low[1] - high_y[at]), 0.0);
            let x = greater(greater(low_x[at] - high[2], low[2] - high_x[at]), 0.0);
            below[at] = wz * z * z + wy * y * y + wx * x * x;
        }
    }

    /// A squared distance within which every point of a box has a site of one of the others.
    fn bound_above(&mut self, boxes: &Boxes, low: [f32; 3], high: [f32; 3]) -> f32 {
        let count = boxes.len();
        self.above.resize(count, 0.0);
        let above = &mut self.above[..count];
        let [site_z, site_y, site_x] = [0, 1, 2].map(|axis| &boxes.site[axis][..count]);
        let [wz, wy, wx] = self.weights;
        for at in 0..count {
            let z = greater(high[0] - site_z[at], site_z[at] - low[0]);
            let y = greater(high[1] - site_y[at], site_y[at] - low[1]);
            let x = greater(high[2] - site_x[at], site_x[at] - low[2]);
            above[at] = wz * z * z + wy * y * y + wx * x * x;
        }
        lowest(above) * SLACK
    }

    /// The squared distance of a point to the nearest site, and that site; `start` is any site.
    fn nearest(&mut self, near: &Boxes, query: [f32; 3], start: usize) -> (f64, usize) {
        self.bound_below(near, query, query);
        let [wz, wy, wx] = self.weights;
        let [query_z, query_y, query_x] = query;
        let (spacing, scale) = (self.spacing, self.scale);
        let [sites_z, sites_y, sites_x] = &self.sites.at;
        let exact = |site: usize| {
            let z = f64::from(sites_z[site] - query_z) * spacing[0];
            let y = f64::from(sites_y[site] - query_y) * spacing[1];
            let x = f64::from(sites_x[site] - query_x) * spacing[2];
            z * z + y * y + x * x
        };
        let limit_of = |squared: f64| (squared * scale) as f32 * SLACK;
        let (mut best, mut best_site) = (exact(start), start);
        let mut limit = limit_of(best);
        let count = self.within(limit).len();
        for &at in &self.kept[..count] {
            if self.below[at] > limit {
                continue;
            }
            let range = near.holds[at].clone();
            let padded = range.start..range.end.next_multiple_of(LANES);
            let rows = |axis: &'a Vec<f32>| axis[padded.clone()].as_chunks::<LANES>().0;
            for (row, ((zs, ys), xs)) in rows(sites_z).iter().zip(rows(sites_y)).zip(rows(sites_x)).enumerate() {
                let mut squared = [0.0_f32; LANES];
                let mut within = false;
                for lane in 0..LANES {
                    let (z, y, x) = (zs[lane] - query_z, ys[lane] - query_y, xs[lane] - query_x);
                    squared[lane] = wz * z * z + wy * y * y + wx * x * x;
                    within |= squared[lane] <= limit;
                }
                if within {
                    for (lane, &squared) in squared.iter().enumerate() {
                        if squared <= limit {
                            let site = range.start + row * LANES + lane;
                            let squared = exact(site);
                            if squared < best {
                                (best, best_site) = (squared, site);
                                limit = limit_of(best);
                            }
                        }
                    }
                }
            }
        }
        (best, best_site)
    }
}

/// Without the rules for NaN of `f32::max`, which cost two more instructions.
fn greater(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}

fn lesser(left: f32, right: f32) -> f32 {
    if left < right { left } else { right }
}

fn lowest(values: &[f32]) -> f32 {
    let (rows, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::INFINITY; LANES];
    for row in rows {
        for lane in 0..LANES {
            lanes[lane] = lesser(row[lane], lanes[lane]);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::INFINITY, lesser)
}
