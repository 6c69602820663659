//! Systems of equations on graphs, solved by conjugate gradients with multigrid by aggregation before them.
//!
//! A level's nodes are gathered into aggregates along their strong edges, and an aggregate is a node of the next level,
//! whose matrix is `Pᵀ A P / 1.8`: the correction of a whole aggregate falls short by about that factor. A cycle goes down
//! all levels and up again, with a sweep of Gauss and Seidel forwards on the way down and one backwards on the way up, so
//! that it is symmetric.
//!
//! Braess, "Towards Algebraic Multigrid for Elliptic Problems of Second Order", 1995,
//! [10.1007/BF02238488](https://doi.org/10.1007/BF02238488); the aggregates as in Vaněk, Mandel and Brezina, 1996,
//! [10.1007/BF02238511](https://doi.org/10.1007/BF02238511).

use rayon::prelude::*;

/// How far the correction of an aggregate falls short.
const SHORT: f64 = 1.8;
/// The least weight of a strong edge, as a part of the greatest weight around a node.
const STRONG: f64 = 0.25;
/// A node whose edges sum up to less than this part of its diagonal has no need of the coarser levels.
const FREE: f64 = 0.2;
/// From how many nodes on a level is solved by another.
const COARSEN_FROM: usize = 64;
/// Rows that one thread takes at a time. Sweeps do not see past them, so results go by it, not by the number of threads.
const PART: usize = 1 << 13;
const NONE: u32 = u32::MAX;

/// A symmetric matrix with a positive diagonal that is no less than the edges of its row, `A = diag(d) − W`.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// The edges of each row, in the order of their columns, are from `starts[row]` to `starts[row + 1]`, those right of
    /// the diagonal from `rights[row]` on.
    starts: Vec<u32>,
    rights: Vec<u32>,
    columns: Vec<u32>,
    weights: Vec<f64>,
    diagonal: Vec<f64>,
}

impl Matrix {
    pub(crate) fn with_capacity(rows: usize, edges: usize) -> Matrix {
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(0);
        Matrix {
            starts,
            rights: Vec::with_capacity(rows),
            columns: Vec::with_capacity(edges),
            weights: Vec::with_capacity(edges),
            diagonal: Vec::with_capacity(rows),
        }
    }

    /// Adds an edge to the row that [`Matrix::end_row`] ends, in the order of the columns.
    pub(crate) fn push_edge(&mut self, column: u32, weight: f64) {
        self.columns.push(column);
        self.weights.push(weight);
    }

    pub(crate) fn end_row(&mut self, diagonal: f64) {
        let row = self.diagonal.len();
        let start = self.starts[row] as usize;
        let left = self.columns[start..].partition_point(|&column| (column as usize) < row);
        self.rights.push((start + left) as u32);
        self.starts.push(self.columns.len() as u32);
        self.diagonal.push(diagonal);
    }

    fn len(&self) -> usize {
        self.diagonal.len()
    }

    /// Some edges with their columns.
    #[inline]
    fn among(&self, from: u32, to: u32) -> impl Iterator<Item = (usize, f64)> {
        let edges = from as usize..to as usize;
        let columns = self.columns[edges.clone()].iter();
        columns
            .zip(&self.weights[edges])
            .map(|(&column, &weight)| (column as usize, weight))
    }

    #[inline]
    fn edges(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        self.among(self.starts[row], self.starts[row + 1])
    }

    #[inline]
    fn left_edges(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        self.among(self.starts[row], self.rights[row])
    }

    #[inline]
    fn right_edges(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        self.among(self.rights[row], self.starts[row + 1])
    }

    /// `A x`, and `xᵀ A x`.
    fn times(&self, x: &[f64], product: &mut [f64]) -> f64 {
        sum_over_parts(product, |first, product| {
            let mut sum = 0.0;
            for (row, product) in (first..).zip(product) {
                let mut value = self.diagonal[row] * x[row];
                for (column, weight) in self.edges(row) {
                    value -= weight * x[column];
                }
                *product = value;
                sum += value * x[row];
            }
            sum
        })
    }

    /// `x` of `(D − L) x = b`, with what lies left of the diagonal as `L`, within each part.
    fn sweep_forwards(&self, b: &[f64], x: &mut [f64]) {
        over_parts(x, |first, x| {
            for at in 0..x.len() {
                let row = first + at;
                let mut sum = b[row];
                for (column, weight) in self.left_edges(row) {
                    if column >= first {
                        sum += weight * x[column - first];
                    }
                }
                x[at] = sum / self.diagonal[row];
            }
        });
    }

    /// `b − A x` after [`Matrix::sweep_forwards`], which left nothing of it but for the edges that it did not look at.
    fn residual_after_sweep(&self, x: &[f64], residual: &mut [f64]) {
        over_parts(residual, |first, residual| {
            for (row, residual) in (first..).zip(residual) {
                let mut sum = 0.0;
                for (column, weight) in self.right_edges(row) {
                    sum += weight * x[column];
                }
                for (column, weight) in self.left_edges(row) {
                    if column >= first {
                        break;
                    }
                    sum += weight * x[column];
                }
                *residual = sum;
            }
        });
    }

    /// `x + (D − Lᵀ)⁻¹ (b − A x)`, row by row from the last.
    fn sweep_backwards(&self, b: &[f64], x: &[f64], swept: &mut [f64]) {
        over_parts(swept, |first, swept| {
            for at in (0..swept.len()).rev() {
                let row = first + at;
                let mut sum = b[row];
                for (column, weight) in self.left_edges(row) {
                    sum += weight * x[column];
                }
                for (column, weight) in self.right_edges(row) {
                    sum += weight * swept.get(column - first).unwrap_or(&x[column]);
                }
                swept[at] = sum / self.diagonal[row];
            }
        });
    }

    /// `L` of `A = L Lᵀ`, row by row.
    fn cholesky(&self) -> Vec<f64> {
        let n = self.len();
        let mut factor = vec![0.0; n * n];
        for row in 0..n {
            factor[row * n + row] = self.diagonal[row];
            for (column, weight) in self.edges(row) {
                factor[row * n + column] = -weight;
            }
            for column in 0..=row {
                let (above, below) = factor.split_at(row * n);
                let other = if column < row {
                    &above[column * n..][..column]
                } else {
                    &below[..column]
                };
                let product: f64 = below[..column]
                    .iter()
                    .zip(other)
                    .map(|(left, right)| left * right)
                    .sum();
                let rest = below[column] - product;
                factor[row * n + column] = if column < row {
                    rest / factor[column * n + column]
                } else {
                    rest.max(f64::MIN_POSITIVE).sqrt()
                };
            }
        }
        factor
    }

    /// The aggregate that each node is in, and how many there are.
    fn aggregates(&self) -> (Vec<u32>, usize) {
        let strong = |row: usize| {
            let greatest = self.edges(row).fold(0.0, |greatest: f64, edge| greatest.max(edge.1));
            self.edges(row).filter(move |edge| edge.1 >= STRONG * greatest)
        };
        let free = |row: usize| self.edges(row).map(|edge| edge.1).sum::<f64>() < FREE * self.diagonal[row];
        let mut aggregates = vec![NONE; self.len()];
        let mut count = 0;
        // A node with all its strong neighbours, where none is taken; then what is left beside such; then the rest.
        for row in 0..self.len() {
            let around = || strong(row).map(|edge| edge.0);
            if aggregates[row] == NONE && !free(row) && around().all(|other| aggregates[other] == NONE) {
                aggregates[row] = count;
                around().for_each(|other| aggregates[other] = count);
                count += 1;
            }
        }
        let taken = aggregates.clone();
        for row in (0..self.len()).filter(|&row| taken[row] == NONE && !free(row)) {
            let beside = strong(row).filter(|edge| taken[edge.0] != NONE);
            if let Some((other, _)) = beside.max_by(|left, right| left.1.total_cmp(&right.1)) {
                aggregates[row] = taken[other];
            }
        }
        for row in 0..self.len() {
            if aggregates[row] == NONE && !free(row) {
                aggregates[row] = count;
                for edge in strong(row) {
                    let other = &mut aggregates[edge.0];
                    if *other == NONE {
                        *other = count;
                    }
                }
                count += 1;
            }
        }
        (aggregates, count as usize)
    }

    /// `Pᵀ A P / 1.8`.
    fn coarse(&self, aggregates: &[u32], count: usize) -> Matrix {
        let mut starts = vec![0_u32; count + 1];
        for &aggregate in aggregates.iter().filter(|&&aggregate| aggregate != NONE) {
            starts[aggregate as usize + 1] += 1;
        }
        for aggregate in 0..count {
            starts[aggregate + 1] += starts[aggregate];
        }
        let mut next = starts.clone();
        let mut members = vec![0_u32; starts[count] as usize];
        for (row, &aggregate) in aggregates.iter().enumerate() {
            if aggregate != NONE {
                members[next[aggregate as usize] as usize] = row as u32;
                next[aggregate as usize] += 1;
            }
        }
        let mut coarse = Matrix::with_capacity(count, self.columns.len() / 2);
        // The sums of the edges to other aggregates, and which there are.
        let mut sums = vec![0.0; count];
        let mut others = Vec::new();
        for aggregate in 0..count {
            let mut diagonal = 0.0;
            for &row in &members[starts[aggregate] as usize..starts[aggregate + 1] as usize] {
                diagonal += self.diagonal[row as usize];
                for (column, weight) in self.edges(row as usize) {
                    let other = aggregates[column];
                    if other as usize == aggregate {
                        diagonal -= weight;
                    } else if other != NONE {
                        if sums[other as usize] == 0.0 {
                            others.push(other);
                        }
                        sums[other as usize] += weight;
                    }
                }
            }
            others.sort_unstable();
            for other in others.drain(..) {
                coarse.push_edge(other, std::mem::take(&mut sums[other as usize]) / SHORT);
            }
            coarse.end_row(diagonal / SHORT);
        }
        coarse
    }
}

/// A level with its right-hand side, its solution and room to work in.
#[derive(Debug)]
struct Level {
    matrix: Matrix,
    /// The node of the next coarser level that each node is in.
    aggregates: Vec<u32>,
    b: Vec<f64>,
    x: Vec<f64>,
    room: Vec<f64>,
    /// The matrix's Cholesky factor, for the coarsest level.
    factor: Vec<f64>,
}

impl Level {
    fn new(matrix: Matrix) -> Level {
        let zeros = vec![0.0; matrix.len()];
        Level {
            matrix,
            aggregates: Vec::new(),
            b: zeros.clone(),
            x: zeros.clone(),
            room: zeros,
            factor: Vec::new(),
        }
    }
}

/// The levels from the finest to the coarsest.
fn levels(matrix: Matrix) -> Vec<Level> {
    let mut levels = vec![Level::new(matrix)];
    while let Some(fine) = levels.last_mut()
        && fine.matrix.len() >= COARSEN_FROM
    {
        let (aggregates, count) = fine.matrix.aggregates();
        if count == 0 || count > fine.matrix.len() * 4 / 5 {
            break;
        }
        let coarse = fine.matrix.coarse(&aggregates, count);
        fine.aggregates = aggregates;
        levels.push(Level::new(coarse));
    }
    if let Some(coarsest) = levels.last_mut()
        && coarsest.matrix.len() < COARSEN_FROM
    {
        coarsest.factor = coarsest.matrix.cholesky();
    }
    levels
}

/// `x` of `L Lᵀ x = b`.
fn solve_factored(factor: &[f64], b: &[f64], x: &mut [f64]) {
    let n = b.len();
    for row in 0..n {
        let known: f64 = factor[row * n..][..row]
            .iter()
            .zip(&*x)
            .map(|(factor, x)| factor * x)
            .sum();
        x[row] = (b[row] - known) / factor[row * n + row];
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|later| factor[later * n + row] * x[later]).sum();
        x[row] = (x[row] - known) / factor[row * n + row];
    }
}

/// One cycle for the finest level's `b`, into its `x`.
fn cycle(levels: &mut [Level]) {
    let Some((fine, coarser)) = levels.split_first_mut() else {
        return;
    };
    let Level {
        matrix,
        aggregates,
        b,
        x,
        room,
        factor,
    } = fine;
    if !factor.is_empty() {
        return solve_factored(factor, b, x);
    }
    matrix.sweep_forwards(b, x);
    if let Some(coarse) = coarser.first_mut() {
        matrix.residual_after_sweep(x, room);
        coarse.b.fill(0.0);
        for (&aggregate, residual) in aggregates.iter().zip(&*room) {
            if aggregate != NONE {
                coarse.b[aggregate as usize] += residual;
            }
        }
        cycle(coarser);
        let correction = &coarser[0].x;
        over_parts(x, |first, x| {
            for (x, &aggregate) in x.iter_mut().zip(&aggregates[first..]) {
                if aggregate != NONE {
                    *x += correction[aggregate as usize];
                }
            }
        });
    }
    matrix.sweep_backwards(b, x, room);
    std::mem::swap(x, room);
}

/// The `x` of `A x = b`, once `|b − A x| ≤ tolerance |b|` and `|b − A x|_i ≤ tolerance · A_ii` for every `i`; None after
/// as many steps without.
pub(crate) fn solve(matrix: Matrix, b: &[f64], tolerance: f64, steps: usize) -> Option<Vec<f64>> {
    let norm = |vector: &[f64]| vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    let mut solution = vec![0.0; b.len()];
    let goal = tolerance * norm(b);
    if goal == 0.0 {
        return Some(solution);
    }
    let mut levels = levels(matrix);
    levels[0].b.copy_from_slice(b);
    let mut direction = vec![0.0; b.len()];
    let mut product = vec![0.0; b.len()];
    let mut before = f64::INFINITY;
    for _ in 0..steps {
        cycle(&mut levels);
        let Level {
            matrix, b: residual, x, ..
        } = &mut levels[0];
        let worth: f64 = residual.iter().zip(&*x).map(|(residual, x)| residual * x).sum();
        if worth.is_nan() {
            return None;
        }
        let turn = worth / before;
        before = worth;
        for (direction, x) in direction.iter_mut().zip(&*x) {
            *direction = x + turn * *direction;
        }
        let length = worth / matrix.times(&direction, &mut product);
        let (mut square, mut most) = (0.0, 0.0_f64);
        for at in 0..residual.len() {
            solution[at] += length * direction[at];
            residual[at] -= length * product[at];
            square += residual[at] * residual[at];
            most = most.max((residual[at] / matrix.diagonal[at]).abs());
        }
        if square.sqrt() <= goal && most <= tolerance {
            return Some(solution);
        }
    }
    None
}

/// A function of each part's first row and its values, on several threads.
fn over_parts(values: &mut [f64], function: impl Fn(usize, &mut [f64]) + Sync) {
    sum_over_parts(values, |first, part| {
        function(first, part);
        0.0
    });
}

/// The same with what it gives summed up, part by part in order.
fn sum_over_parts(values: &mut [f64], function: impl Fn(usize, &mut [f64]) -> f64 + Sync) -> f64 {
    if values.len() <= PART {
        return function(0, values);
    }
    let sums: Vec<f64> = values
        .par_chunks_mut(PART)
        .enumerate()
        .map(|(part, values)| function(part * PART, values))
        .collect();
    sums.iter().sum()
}
