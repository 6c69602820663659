use tch::{Device, Kind, TchError, Tensor};

use super::{Activation, Epilogue, Init, Layer, Packed, Pass, asks_for_gradient, in_kind_of, without_graph};
use crate::onednn::Geometry;
use crate::scope::Scope;

/// What lies around the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding<const D: usize> {
    /// This many zeros at both ends of each axis.
    Zeros([i64; D]),
    /// As many zeros as make the output ⌈input / stride⌉ long, the odd one at the far end: Keras's `same`.
    Same,
}

impl<const D: usize> Padding<D> {
    /// The zeros before and after each axis.
    pub(crate) fn around(
        self,
        size: &[i64],
        kernel: [i64; D],
        stride: [i64; D],
        dilation: [i64; D],
    ) -> [(i64, i64); D] {
        std::array::from_fn(|axis| match self {
            Self::Zeros(padding) => (padding[axis], padding[axis]),
            Self::Same => {
                let (size, stride) = (size[axis], stride[axis]);
                let reach = dilation[axis] * (kernel[axis] - 1) + 1;
                let total = (((size + stride - 1) / stride - 1) * stride + reach - size).max(0);
                (total / 2, total - total / 2)
            }
        })
    }
}

/// Pairs in torch's order for padding: last axis first.
pub(crate) fn pad_list<const D: usize>(around: [(i64, i64); D]) -> Vec<i64> {
    around
        .iter()
        .rev()
        .flat_map(|&(before, after)| [before, after])
        .collect()
}

/// Settings of a [`Conv`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvConfig<const D: usize> {
    pub(crate) inputs: i64,
    pub(crate) outputs: i64,
    pub(crate) kernel: [i64; D],
    pub(crate) stride: [i64; D],
    pub(crate) padding: Padding<D>,
    pub(crate) dilation: [i64; D],
    pub(crate) groups: i64,
    pub(crate) init: Init,
    pub(crate) bias: Option<Init>,
}

impl<const D: usize> ConvConfig<D> {
    /// Stride 1, no padding, one group, no bias, weights as torch's layers begin.
    pub(crate) fn new(inputs: i64, outputs: i64, kernel: i64) -> Self {
        Self {
            inputs,
            outputs,
            kernel: [kernel; D],
            stride: [1; D],
            padding: Padding::Zeros([0; D]),
            dilation: [1; D],
            groups: 1,
            init: Init::TorchDefault,
            bias: None,
        }
    }

    /// Of another extent along each axis.
    pub(crate) fn with_kernel(mut self, kernel: [i64; D]) -> Self {
        self.kernel = kernel;
        self
    }

    pub(crate) fn with_stride(mut self, stride: i64) -> Self {
        self.stride = [stride; D];
        self
    }

    pub(crate) fn with_padding(mut self, padding: Padding<D>) -> Self {
        self.padding = padding;
        self
    }

    /// Padded with (k − 1) / 2 zeros: with an odd kernel and stride 1 the output is as large as the input.
    pub(crate) fn centred(self) -> Self {
        let padding = std::array::from_fn(|axis| (self.kernel[axis] - 1) / 2 * self.dilation[axis]);
        self.with_padding(Padding::Zeros(padding))
    }

    pub(crate) fn with_groups(mut self, groups: i64) -> Self {
        self.groups = groups;
        self
    }

    pub(crate) fn with_init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    pub(crate) fn with_bias(mut self, bias: Init) -> Self {
        self.bias = Some(bias);
        self
    }

    fn shape(&self) -> Vec<i64> {
        [&[self.outputs, self.inputs / self.groups], self.kernel.as_slice()].concat()
    }
}

/// A convolution over the `D` axes of `[N, C, …]` with variables `weight` `[out, in / groups, k…]` and `bias` `[out]`.
#[derive(Debug)]
pub(crate) struct Conv<const D: usize> {
    weight: Tensor,
    bias: Option<Tensor>,
    config: ConvConfig<D>,
    packed: Option<Packed>,
}

/// Over images.
pub(crate) type Conv2d = Conv<2>;

impl<const D: usize> Conv<D> {
    pub(crate) fn new(scope: &Scope<'_>, config: ConvConfig<D>) -> Result<Self, TchError> {
        let shape = config.shape();
        let weight = scope.trainable("weight", &shape, config.init.for_weight(&shape))?;
        let bias = config
            .bias
            .map(|init| scope.trainable("bias", &shape[..1], init.for_weight(&shape)))
            .transpose()?;
        Ok(Self::of(scope, weight, bias, config))
    }

    /// With a weight and a bias that are there already.
    pub(crate) fn of(scope: &Scope<'_>, weight: Tensor, bias: Option<Tensor>, config: ConvConfig<D>) -> Self {
        // Over volumes of one channel a group, libtorch 2.11's operators go wrong: in bf16, where an extent is 1, they take
        // single channels for another layout and read past the end.
        let safe = D < 3 || config.inputs > config.groups;
        let packed = Packed::new(scope).filter(|_| safe);
        Self {
            weight,
            bias,
            config,
            packed,
        }
    }

    /// With what follows, in one pass over the output where the weight is packed and no graph is wanted.
    pub(crate) fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>, pass: Pass<'_>) -> Result<Tensor, TchError> {
        let ConvConfig {
            inputs,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            ..
        } = self.config;
        let size = x.size();
        let Some(size) = size.get(2..).filter(|size| size.len() == D) else {
            return Err(TchError::Shape(format!(
                "a convolution over {D} axes takes [N, C] and {D} extents, found {size:?}"
            )));
        };
        let around = padding.around(size, kernel, stride, dilation);
        let even = around.iter().all(|(before, after)| before == after);
        let (x, padding) = match even {
            true => (x.shallow_clone(), around.map(|(before, _)| before)),
            false => (x.f_constant_pad_nd(pad_list(around))?, [0; D]),
        };
        let each = inputs / groups * kernel.iter().product::<i64>();
        let geometry = Geometry {
            padding,
            stride,
            dilation,
            groups,
        };
        if let Some((packed, x)) = self.packed_for(&x, geometry, &epilogue)? {
            let size = x.size();
            let key = [size.as_slice(), &padding].concat();
            let weight = packed.weight(&self.weight, &key, |onednn| onednn.pack(&self.weight, geometry, &size))?;
            let (bias, activation) = (self.bias.as_ref(), epilogue.activation);
            let y = match epilogue.summand {
                None => packed.onednn().convolve(&x, &weight, bias, geometry, activation)?,
                Some(summand) => {
                    let sum = summand.into_owned()?;
                    packed
                        .onednn()
                        .convolve_onto(sum, &x, &weight, bias, geometry, activation)?
                }
            };
            pass.count_packed(&y, each);
            return Ok(y);
        }
        let kind = x.f_kind()?;
        let x = if self.needs_single_precision(&x)? {
            x.f_to_kind(Kind::Float)?
        } else {
            x
        };
        let weight = in_kind_of(&x, &self.weight)?;
        let bias = self.bias.as_ref().map(|bias| in_kind_of(&x, bias)).transpose()?;
        let y = x
            .f_convolution(&weight, bias.as_ref(), stride, padding, dilation, false, [0; D], groups)?
            .f_to_kind(kind)?;
        pass.count(&y, each);
        epilogue.apply(y, pass)
    }

    /// Whether libtorch 2.11's gradients in half precision would be wrong: on the processor, those of a weight over
    /// volumes of one channel a group are, where an extent is 1. (At stride 2, which no network here has there, those in
    /// single precision are too.)
    fn needs_single_precision(&self, x: &Tensor) -> Result<bool, TchError> {
        let at_risk = D == 3 && self.config.inputs == self.config.groups && x.device() == Device::Cpu;
        Ok(at_risk
            && matches!(x.f_kind()?, Kind::BFloat16 | Kind::Half)
            && (without_graph(x)?.is_none() || asks_for_gradient(&self.weight, None)?))
    }

    /// The packed weight and `x` without a graph, if they can be used. What is no input for this convolution is left to
    /// the plain one, whose errors say more.
    fn packed_for(
        &self,
        x: &Tensor,
        geometry: Geometry<D>,
        epilogue: &Epilogue<'_>,
    ) -> Result<Option<(&Packed, Tensor)>, TchError> {
        let Some(packed) = &self.packed else {
            return Ok(None);
        };
        let size = x.size();
        let fits = size[1] == self.config.inputs
            && x.numel() > 0
            && (0..D).all(|axis| {
                let reach = geometry.dilation[axis] * (self.config.kernel[axis] - 1) + 1;
                size[axis + 2] + 2 * geometry.padding[axis] >= reach
            });
        if !fits || x.device() != Device::Cpu || x.f_kind()? != self.weight.f_kind()? {
            return Ok(None);
        }
        if asks_for_gradient(&self.weight, self.bias.as_ref())? {
            return Ok(None);
        }
        if let Some(summand) = &epilogue.summand
            && without_graph(summand.tensor())?.is_none()
        {
            return Ok(None);
        }
        Ok(without_graph(x)?.map(|x| (packed, x)))
    }
}

impl<const D: usize> Layer for Conv<D> {
    fn forward(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.forward_with(x, Epilogue::default(), pass)
    }

    fn takes_activation(&self) -> bool {
        true
    }

    fn forward_activated(&self, x: &Tensor, activation: Activation, pass: Pass<'_>) -> Result<Tensor, TchError> {
        self.forward_with(x, Epilogue::activation(activation), pass)
    }
}

#[cfg(test)]
mod tests {
    use tch::nn;

    use super::*;

    /// Of one channel a group, in one group and in several.
    #[test]
    fn gradients_over_flat_volumes_are_right_in_half_precision() {
        for (channels, extents) in [(1, [5, 1, 7]), (1, [1, 1, 7]), (4, [5, 6, 7])] {
            let store = nn::VarStore::new(Device::Cpu);
            let config = ConvConfig::<3>::new(channels, 64, 7).centred().with_groups(channels);
            let conv = Conv::new(&Scope::fresh(&store), config).unwrap();
            let shape = [&[2, channels], extents.as_slice()].concat();
            let count = shape.iter().product::<i64>();
            let x = Tensor::arange(count, (Kind::Float, Device::Cpu))
                .sin()
                .view(shape.as_slice());
            let gradient = |kind| {
                let x = x.to_kind(kind);
                let y = conv.forward(&x, Pass::new(true)).unwrap();
                assert_eq!(y.kind(), kind);
                let score = y.to_kind(Kind::Float).square().sum(Kind::Float);
                Tensor::run_backward(&[score], &[&conv.weight], false, false).remove(0)
            };
            let exact = gradient(Kind::Float);
            let largest = exact.abs().max().double_value(&[]);
            for kind in [Kind::BFloat16, Kind::Half] {
                let found = gradient(kind);
                assert_eq!(found.kind(), Kind::Float);
                let apart = (found - &exact).abs().max().double_value(&[]);
                // 8 bits.
                assert!(
                    apart <= 0.03 * largest,
                    "{channels} {extents:?} {kind:?}: {apart:e} of {largest:e}"
                );
            }
        }
    }
}
