//! Altered copies of one sample, run through a part of the network in chunks.
//!
//! What all perturbation methods have in common. The copies share one buffer, so that memory for
//! them is had once, and the chunks are small enough to stay in cache and under the ceiling.

use std::ops::Range;

use tch::{Device, TchError, Tensor};

use crate::capture::check_logits;
use crate::error::CamError;
use crate::stage::{self, Stages};

/// Copies in a chunk take about this much memory on a CPU: what its caches hold beside the weights.
const CACHE: u64 = 4 << 20;
/// On other devices larger chunks keep the device busy.
const DEVICE: u64 = 64 << 20;
/// Fewer copies leave a network's convolutions slow; more are of no more use.
const FEWEST: u64 = 16;
const MOST: u64 = 256;
/// What a stage needs on top of what it takes and puts out is not known; this many times that is
/// set aside.
const INSIDE: u64 = 2;

/// The stages that altered copies run through, and the memory they may take.
#[derive(Debug)]
pub(crate) struct Copies<'s> {
    pub(crate) stages: &'s Stages<'s>,
    /// From where the copies enter to the logits.
    pub(crate) range: Range<usize>,
    /// What earlier stages carry past there, of the one sample: `[1, …]` each, the same for every copy.
    pub(crate) carried: Vec<Tensor>,
    /// In bytes.
    pub(crate) ceiling: u64,
}

impl Copies<'_> {
    /// What is carried past copies.
    fn beside(&self, copies: i64) -> Result<Vec<Tensor>, TchError> {
        self.carried.iter().map(|carried| repeated(carried, copies)).collect()
    }

    /// The network's output for `count` copies of `original`, each under a mask of its own:
    /// `original * mask`, or `base + original * mask`.
    ///
    /// # Shapes
    /// `original` and `base` are `[1, …]`; `masks` gives for a range of copies `[copies, …]` that
    /// broadcast to them; `read` gets those and the outputs `[copies, …]`.
    pub(crate) fn masked(
        &self,
        original: &Tensor,
        base: Option<&Tensor>,
        count: i64,
        mut masks: impl FnMut(Range<i64>) -> Result<Tensor, CamError>,
        mut read: impl FnMut(&Tensor, &Tensor) -> Result<(), CamError>,
    ) -> Result<(), CamError> {
        let mut chunk = Chunk::new(self, original)?;
        let mut start = 0;
        while start < count {
            let rows = chunk.rows(count - start)?;
            let masks = masks(start..start + rows.size()[0])?;
            let mut rows = original.f_mul_out(&rows, &masks)?;
            if let Some(base) = base {
                rows = rows.f_add_(base)?;
            }
            read(&masks, &chunk.run(&rows)?)?;
            start += rows.size()[0];
        }
        Ok(())
    }

    /// The network's output for `count` copies of `original` that each have a region from
    /// `replacement`.
    ///
    /// # Shapes
    /// `original` and `replacement` are `[1, …]`. `regions` gives, of `[copies, …]` and the range
    /// of those copies, views of what is replaced; `read` gets the outputs `[copies, …]`.
    ///
    /// # Cost
    /// Only the regions are written, before a chunk and after it. Where a stage works in place the
    /// whole chunk is written anew.
    pub(crate) fn replaced(
        &self,
        original: &Tensor,
        replacement: &Tensor,
        count: i64,
        regions: impl Fn(&Tensor, Range<i64>) -> Result<Vec<Tensor>, CamError>,
        mut read: impl FnMut(&Tensor) -> Result<(), CamError>,
    ) -> Result<(), CamError> {
        let write = |rows: &Tensor, from: &Tensor, copies: &Range<i64>| -> Result<(), CamError> {
            let from = regions(&from.f_expand(rows.size(), false)?, copies.clone())?;
            for (mut to, from) in regions(rows, copies.clone())?.into_iter().zip(from) {
                to.f_copy_(&from)?;
            }
            Ok(())
        };
        let mut chunk = Chunk::new(self, original)?;
        let mut start = 0;
        while start < count {
            let mut rows = chunk.rows(count - start)?;
            let copies = start..start + rows.size()[0];
            if chunk.pristine < rows.size()[0] {
                rows.f_copy_(&original.f_expand(rows.size(), false)?)?;
            }
            write(&rows, replacement, &copies)?;
            let version = rows.f_internal_version()?;
            let outputs = chunk.run(&rows)?;
            // Before the copies are made whole again: the outputs may be a view of them.
            read(&outputs)?;
            // libtorch counts what is written to a tensor's memory.
            chunk.pristine = if rows.f_internal_version()? == version {
                write(&rows, original, &copies)?;
                chunk.pristine.max(rows.size()[0])
            } else {
                0
            };
            start = copies.end;
        }
        Ok(())
    }
}

/// The buffer for copies and how many of them fit.
struct Chunk<'c> {
    copies: &'c Copies<'c>,
    original: &'c Tensor,
    buffer: Option<Tensor>,
    /// How many of the first copies in the buffer are unaltered.
    pristine: i64,
    most: i64,
}

impl<'c> Chunk<'c> {
    /// Sees what a copy takes by a run of the original, stage by stage. Nothing else is made of that: a fused run rounds
    /// otherwise, and all copies are to go the same way.
    fn new(copies: &'c Copies<'c>, original: &'c Tensor) -> Result<Self, CamError> {
        let mut x = stage::copy(original)?;
        let mut carried = copies.beside(1)?;
        let mut largest = 0;
        for stage in &copies.stages.as_slice()[copies.range.clone()] {
            let before = all_bytes(&carried);
            let y = stage.forward_carrying(&x, &mut carried)?;
            largest = largest.max(bytes(&x) + bytes(&y) + before.max(all_bytes(&carried)));
            x = y;
        }
        check_logits(&x, 1)?;
        let copy = bytes(original);
        // The copy itself, its mask, and what the stages take.
        let needed = (2 * copy + INSIDE * largest).max(1);
        let wanted = match original.device() {
            Device::Cpu => CACHE,
            _ => DEVICE,
        };
        let wanted = (wanted / copy.max(1)).clamp(FEWEST, MOST);
        Ok(Self {
            copies,
            original,
            buffer: None,
            pristine: 0,
            most: (copies.ceiling / needed).clamp(1, wanted) as i64,
        })
    }

    /// Room for the next copies, of which `left` are left.
    fn rows(&mut self, left: i64) -> Result<Tensor, CamError> {
        let rows = self.most.min(left);
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => repeated_like(self.original, rows)?,
        };
        let room = buffer.f_narrow(0, 0, rows)?;
        self.buffer = Some(buffer);
        Ok(room)
    }

    fn run(&self, rows: &Tensor) -> Result<Tensor, CamError> {
        let count = rows.size()[0];
        let Copies { stages, range, .. } = self.copies;
        let output = stages.run(range.clone(), rows, &mut self.copies.beside(count)?)?;
        check_logits(&output, count)?;
        Ok(output)
    }
}

/// A `[1, …]` tensor for each of `rows`, all of the same memory.
fn repeated(one: &Tensor, rows: i64) -> Result<Tensor, TchError> {
    let mut shape = one.size();
    shape[0] = rows;
    one.f_expand(shape.as_slice(), false)
}

/// What tensors take once a stage makes something of them for each copy, as a concatenation does.
fn all_bytes(tensors: &[Tensor]) -> u64 {
    tensors.iter().map(bytes).sum()
}

fn bytes(tensor: &Tensor) -> u64 {
    tensor.numel() as u64 * tensor.kind().elt_size_in_bytes() as u64
}

/// Memory for `rows` times a `[1, …]` tensor, laid out as that is: channels last stays so.
fn repeated_like(original: &Tensor, rows: i64) -> Result<Tensor, CamError> {
    let mut shape = original.size();
    let mut strides = original.stride();
    let extent = |(size, stride): (&i64, &i64)| (size - 1) * stride;
    let span = 1 + shape.iter().zip(&strides).skip(1).map(extent).sum::<i64>();
    let one = shape[1..].iter().product::<i64>();
    shape[0] = rows;
    let options = (original.kind(), original.device());
    if span != one {
        // It is a view with gaps or repetitions.
        return Ok(Tensor::f_empty(shape.as_slice(), options)?);
    }
    strides[0] = one;
    Ok(Tensor::f_empty_strided(shape.as_slice(), strides.as_slice(), options)?)
}
