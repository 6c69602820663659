use tch::{TchError, Tensor};

use super::{Layer, Padding, Pass};

fn unsupported<T>(axes: usize) -> Result<T, TchError> {
    Err(TchError::Shape(format!("pooling is over 2 or 3 axes, not {axes}")))
}

/// The largest number of each window over `D` axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxPool<const D: usize> {
    kernel: [i64; D],
    stride: [i64; D],
    padding: Padding<D>,
    ceil: bool,
}

impl<const D: usize> MaxPool<D> {
    pub(crate) fn new(kernel: i64, stride: i64) -> Self {
        Self {
            kernel: [kernel; D],
            stride: [stride; D],
            padding: Padding::Zeros([0; D]),
            ceil: false,
        }
    }

    /// With this many places around that are never the largest.
    pub(crate) fn with_padding(mut self, padding: i64) -> Self {
        self.padding = Padding::Zeros([padding; D]);
        self
    }

    /// With as many of them as make the output ⌈input / stride⌉ long, the odd one at the far end: Keras's `same`.
    pub(crate) fn with_same_padding(mut self) -> Self {
        self.padding = Padding::Same;
        self
    }

    /// A last window that hangs over the edge counts too.
    pub(crate) fn with_ceil_mode(mut self) -> Self {
        self.ceil = true;
        self
    }
}

impl<const D: usize> Layer for MaxPool<D> {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        let Self {
            kernel,
            stride,
            padding,
            mut ceil,
        } = *self;
        let size = x.size();
        let Some(size) = size.get(2..).filter(|size| size.len() == D) else {
            return Err(TchError::Shape(format!(
                "pooling over {D} axes takes [N, C] and {D} extents, found {size:?}"
            )));
        };
        // Where there is one more at the far end, the last window hangs over the edge by one. It does so only where it
        // must: an axis with as much on both sides has no room for another window.
        let around = padding.around(size, kernel, stride, [1; D]);
        ceil |= around.iter().any(|(before, after)| before != after);
        let padding = around.map(|(before, _)| before);
        match D {
            2 => x.f_max_pool2d(kernel, stride, padding, [1; D], ceil),
            3 => x.f_max_pool3d(kernel, stride, padding, [1; D], ceil),
            _ => unsupported(D),
        }
    }
}

/// The mean of each window over `D` axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AveragePool<const D: usize> {
    kernel: [i64; D],
    stride: [i64; D],
    padding: [i64; D],
    ceil: bool,
    count_padding: bool,
}

impl<const D: usize> AveragePool<D> {
    pub(crate) fn new(kernel: i64, stride: i64) -> Self {
        Self {
            kernel: [kernel; D],
            stride: [stride; D],
            padding: [0; D],
            ceil: false,
            count_padding: true,
        }
    }

    /// With this many zeros around.
    pub(crate) fn with_padding(mut self, padding: i64) -> Self {
        self.padding = [padding; D];
        self
    }

    /// The mean is over what lies inside only.
    pub(crate) fn without_counted_padding(mut self) -> Self {
        self.count_padding = false;
        self
    }
}

impl<const D: usize> Layer for AveragePool<D> {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        let Self {
            kernel,
            stride,
            padding,
            ceil,
            count_padding,
        } = *self;
        match D {
            2 => x.f_avg_pool2d(kernel, stride, padding, ceil, count_padding, None),
            3 => x.f_avg_pool3d(kernel, stride, padding, ceil, count_padding, None),
            _ => unsupported(D),
        }
    }
}

/// The mean over all of space: `[N, C, H, W]` to `[N, C, 1, 1]`, volumes likewise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GlobalAveragePool;

impl Layer for GlobalAveragePool {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        match x.dim() {
            5 => x.f_adaptive_avg_pool3d([1; 3]),
            _ => x.f_adaptive_avg_pool2d([1; 2]),
        }
    }
}

/// Means over a grid of this many windows: `[N, C, H, W]` to `[N, C, h, w]`, whatever H and W are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdaptiveAveragePool(pub(crate) [i64; 2]);

impl Layer for AdaptiveAveragePool {
    fn forward(&self, x: &Tensor, _: Pass<'_>) -> Result<Tensor, TchError> {
        x.f_adaptive_avg_pool2d(self.0)
    }
}
