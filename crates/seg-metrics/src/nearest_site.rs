//! The exact distance of each voxel of one surface to the nearest voxel of another.
//!
//! Surfaces are thin, so a transform of the whole volume would do most of its work for nothing. Here the
//! voxels of a surface ("sites") lie in cells of 4³ voxels (8² pixels), cells in groups of 4³ and those
//! in groups again. The voxels that ask ("queries") do so cell by cell: first whole groups and cells of sites are
//! discarded that answer no query of the cell, then single sites, and each query is compared with the few that
//! are left.
//!
//! A site s answers no query of a box if another site t is nearer to the whole box. How much nearer s is,
//! |q − t|² − |q − s|², is linear in q, so it is greatest at a corner of the box, and that axis by axis: it is the sum
//! over the axes of the greater value at the box's two ends. Of a box of sites, the site at the least distance stands
//! for s. The best t is the site nearest to the middle of the queries.
//!
//! All this is in f32 from exact integer differences, with a slack far above its rounding; whatever is within the
//! slack is measured in f64. So the answer is the exact nearest distance, rounded as SciPy rounds it.

use std::ops::Range;

use rayon::prelude::*;

use crate::bit_mask::BitMask;

/// Voxels along an axis: cells are numbered by 21 bits, and f32 holds the coordinates of twice as many.
pub(crate) const MOST: usize = (1 << 23) - 1;
const LANES: usize = 8;
/// Squares in f32 are off by less than a millionth.
const SLACK: f32 = 1.0 + 4e-6;
/// The weight of the axis with the longest spacing. Squared spacings are up to 1e48 apart, and a square of 2²⁴ voxels
/// is 3e14: both ends are well inside the range of f32.
const SCALE: f64 = 1e20;
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

    /// Adds those of other boxes that are at these places.
    fn gather(&mut self, from: &Boxes, places: &[usize]) {
        for axis in 0..3 {
            self.low[axis].extend(places.iter().map(|&at| from.low[axis][at]));
            self.high[axis].extend(places.iter().map(|&at| from.high[axis][at]));
            self.site[axis].extend(places.iter().map(|&at| from.site[axis][at]));
        }
        self.holds.extend(places.iter().map(|&at| from.holds[at].clone()));
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
    /// Cell by cell.
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

        let mut at = [0, 1, 2].map(|_| Vec::with_capacity(surface.count()));
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
        let mut distances = vec![0.0; self.at[0].len()];
        let mut rest = &mut distances[..];
        let mut groups = Vec::with_capacity(self.groups.len());
        for cells in &self.groups.holds {
            let queries = self.cells.holds[cells.start].start..self.cells.holds[cells.end - 1].end;
            let (group, others) = rest.split_at_mut(queries.len());
            groups.push(group);
            rest = others;
        }
        groups.into_par_iter().enumerate().for_each_init(
            || Search::new(others, spacing),
            |search, (group, distances)| search.group(self, group, distances),
        );
        distances
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
    /// The squared spacings, to a scale.
    weights: [f32; 3],
    /// A number for each box or site in question, and which of them are kept.
    scores: Vec<f32>,
    kept: Vec<usize>,
    groups: Boxes,
    cells: Boxes,
    near_cells: Boxes,
    /// The sites of the cells near a cell of queries, and what is left of them.
    near: Coordinates,
    left: Coordinates,
    squares: Vec<[f32; LANES]>,
}

impl<'a> Search<'a> {
    fn new(sites: &'a Sites, spacing: [f64; 3]) -> Self {
        let longest = spacing.into_iter().fold(0.0, f64::max);
        Search {
            sites,
            spacing,
            weights: spacing.map(|step| (SCALE * (step / longest).powi(2)) as f32),
            scores: Vec::new(),
            kept: Vec::new(),
            groups: Boxes::default(),
            cells: Boxes::default(),
            near_cells: Boxes::default(),
            near: Coordinates::default(),
            left: Coordinates::default(),
            squares: Vec::new(),
        }
    }

    /// Finds the distances of all sites in a group of queries.
    fn group(&mut self, queries: &Sites, group: usize, distances: &mut [f64]) {
        let (low, high) = (queries.groups.low(group), queries.groups.high(group));
        let sites = self.sites;
        let [mut groups, mut cells, mut near_cells] =
            [&mut self.groups, &mut self.cells, &mut self.near_cells].map(std::mem::take);
        groups.clear();
        for &at in self.keep_boxes(&sites.regions, low, high) {
            groups.extend(&sites.groups, sites.regions.holds[at].clone());
        }
        cells.clear();
        for &at in self.keep_boxes(&groups, low, high) {
            cells.extend(&sites.cells, groups.holds[at].clone());
        }
        near_cells.clear();
        near_cells.gather(&cells, self.keep_boxes(&cells, low, high));

        let mut rest = distances;
        for cell in queries.groups.holds[group].clone() {
            let (distances, others) = rest.split_at_mut(queries.cells.holds[cell].len());
            self.cell(queries, cell, &near_cells, distances);
            rest = others;
        }
        (self.groups, self.cells, self.near_cells) = (groups, cells, near_cells);
    }

    /// Finds the distances of all sites in a cell of queries, among cells that hold their nearest sites.
    fn cell(&mut self, queries: &Sites, cell: usize, cells: &Boxes, distances: &mut [f64]) {
        let (low, high) = (queries.cells.low(cell), queries.cells.high(cell));
        let sites = self.sites;
        let mut near = std::mem::take(&mut self.near);
        near.iter_mut().for_each(Vec::clear);
        for &at in self.keep_boxes(cells, low, high) {
            for (near, sites) in near.iter_mut().zip(&sites.at) {
                near.extend_from_slice(&sites[cells.holds[at].clone()]);
            }
        }
        fill_lanes(&mut near);
        self.keep_sites(&near, low, high);
        self.near = near;
        for (distance, query) in distances.iter_mut().zip(queries.cells.holds[cell].clone()) {
            *distance = self.nearest([0, 1, 2].map(|axis| queries.at[axis][query])).sqrt();
        }
    }

    /// Which boxes of sites may answer a query of a box.
    fn keep_boxes(&mut self, boxes: &Boxes, low: [f32; 3], high: [f32; 3]) -> &[usize] {
        let other = self.nearest_to_middle(&boxes.site, low, high);
        let count = boxes.len();
        let scores = &mut self.scores[..count];
        let [low_z, low_y, low_x] = [0, 1, 2].map(|axis| &boxes.low[axis][..count]);
        let [high_z, high_y, high_x] = [0, 1, 2].map(|axis| &boxes.high[axis][..count]);
        let [z, y, x] = [0, 1, 2].map(|axis| Gain::new(self.weights[axis], low[axis], high[axis], other[axis]));
        for at in 0..count {
            scores[at] = z.of_range(low_z[at], high_z[at])
                + y.of_range(low_y[at], high_y[at])
                + x.of_range(low_x[at], high_x[at]);
        }
        self.kept.resize(count.max(self.kept.len()), 0);
        let mut kept = 0;
        // Without a branch: which boxes are near is as good as random.
        for (at, &score) in scores.iter().enumerate() {
            self.kept[kept] = at;
            kept += usize::from(score >= 0.0);
        }
        &self.kept[..kept]
    }

    /// Leaves the sites, in whole lanes, that may answer a query of a box.
    fn keep_sites(&mut self, sites: &Coordinates, low: [f32; 3], high: [f32; 3]) {
        let other = self.nearest_to_middle(sites, low, high);
        let [z, y, x] = [0, 1, 2].map(|axis| Gain::new(self.weights[axis], low[axis], high[axis], other[axis]));
        let [left_z, left_y, left_x] = &mut self.left;
        for left in [&mut *left_z, left_y, left_x] {
            left.resize(sites[0].len().max(left.len()), 0.0);
        }
        let [sites_z, sites_y, sites_x] = lanes(sites);
        let mut count = 0;
        for ((sites_z, sites_y), sites_x) in sites_z.iter().zip(sites_y).zip(sites_x) {
            let mut scores = [0.0_f32; LANES];
            let mut any = false;
            for lane in 0..LANES {
                scores[lane] = z.of(sites_z[lane]) + y.of(sites_y[lane]) + x.of(sites_x[lane]);
                any |= scores[lane] >= 0.0;
            }
            if any {
                for lane in 0..LANES {
                    left_z[count] = sites_z[lane];
                    left_y[count] = sites_y[lane];
                    left_x[count] = sites_x[lane];
                    count += usize::from(scores[lane] >= 0.0);
                }
            }
        }
        for left in [left_z, left_y, left_x] {
            left.truncate(count);
        }
        fill_lanes(&mut self.left);
    }

    /// The site that is nearest to the middle of a box, but for rounding.
    fn nearest_to_middle(&mut self, sites: &Coordinates, low: [f32; 3], high: [f32; 3]) -> [f32; 3] {
        let [to_z, to_y, to_x] = [0, 1, 2].map(|axis| (low[axis] + high[axis]) / 2.0);
        let [wz, wy, wx] = self.weights;
        let count = sites[0].len();
        self.scores.resize(count.max(self.scores.len()), 0.0);
        let squares = &mut self.scores[..count];
        let [sites_z, sites_y, sites_x] = [0, 1, 2].map(|axis| &sites[axis][..count]);
        for at in 0..count {
            let (z, y, x) = (sites_z[at] - to_z, sites_y[at] - to_y, sites_x[at] - to_x);
            squares[at] = wz * z * z + wy * y * y + wx * x * x;
        }
        let least = lowest(squares);
        let at = squares.iter().position(|&squared| squared == least).unwrap_or(0);
        [sites_z[at], sites_y[at], sites_x[at]]
    }

    /// The squared distance of a query to the nearest of the sites left.
    fn nearest(&mut self, query: [f32; 3]) -> f64 {
        let [wz, wy, wx] = self.weights;
        let [query_z, query_y, query_x] = query;
        let [left_z, left_y, left_x] = lanes(&self.left);
        let count = left_z.len();
        self.squares.resize(count.max(self.squares.len()), [0.0; LANES]);
        let rows = left_z.iter().zip(left_y).zip(left_x);
        let mut least = [f32::INFINITY; LANES];
        for (squares, ((zs, ys), xs)) in self.squares.iter_mut().zip(rows) {
            let mut row = [0.0; LANES];
            for lane in 0..LANES {
                let (z, y, x) = (zs[lane] - query_z, ys[lane] - query_y, xs[lane] - query_x);
                row[lane] = wz * z * z + wy * y * y + wx * x * x;
            }
            for lane in 0..LANES {
                least[lane] = lesser(row[lane], least[lane]);
            }
            *squares = row;
        }
        let limit = least.into_iter().fold(f32::INFINITY, lesser) * SLACK;
        let mut best = f64::INFINITY;
        for (row, squares) in self.squares[..count].iter().enumerate() {
            if squares.iter().fold(false, |any, &squared| any | (squared <= limit)) {
                for (lane, &squared) in squares.iter().enumerate() {
                    if squared <= limit {
                        let z = f64::from(left_z[row][lane] - query_z) * self.spacing[0];
                        let y = f64::from(left_y[row][lane] - query_y) * self.spacing[1];
                        let x = f64::from(left_x[row][lane] - query_x) * self.spacing[2];
                        best = best.min(z * z + y * y + x * x);
                    }
                }
            }
        }
        best
    }
}

/// Along one axis, how much nearer than another site (in weighted squares, with slack) a site may be to a query
/// from `low` to `high`.
struct Gain {
    weight: f32,
    low: f32,
    high: f32,
    low_to_other: f32,
    high_to_other: f32,
}

impl Gain {
    fn new(weight: f32, low: f32, high: f32, other: f32) -> Self {
        let to_other = |end: f32| SLACK * weight * (end - other) * (end - other);
        Gain {
            weight,
            low,
            high,
            low_to_other: to_other(low),
            high_to_other: to_other(high),
        }
    }

    fn of(&self, site: f32) -> f32 {
        let (to_low, to_high) = (site - self.low, site - self.high);
        greater(
            self.low_to_other - self.weight * to_low * to_low,
            self.high_to_other - self.weight * to_high * to_high,
        )
    }

    /// For the best site of a range.
    fn of_range(&self, first: f32, last: f32) -> f32 {
        let to = |end: f32| greater(greater(first - end, end - last), 0.0);
        let (to_low, to_high) = (to(self.low), to(self.high));
        greater(
            self.low_to_other - self.weight * to_low * to_low,
            self.high_to_other - self.weight * to_high * to_high,
        )
    }
}

/// Fills lanes up to whole ones with copies of the last point.
fn fill_lanes(coordinates: &mut Coordinates) {
    for along in coordinates {
        let last = along.last().copied().unwrap_or(0.0);
        along.resize(along.len().next_multiple_of(LANES), last);
    }
}

/// Coordinates in whole lanes.
fn lanes(coordinates: &Coordinates) -> [&[[f32; LANES]]; 3] {
    [0, 1, 2].map(|axis| coordinates[axis].as_chunks().0)
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
