//! oneDNN's convolutions and linear layers with packed weights, which add a tensor and apply an activation in the same
//! pass over the output.
//!
//! libtorch registers them for its compiler (`mkldnn::_convolution_pointwise` and its kin) and tch has no functions for
//! them, but TorchScript reaches any operator by name: `onednn.pt`, which `scripts/onednn.py` writes, is a module of a
//! few calls and no weights. A libtorch without oneDNN refuses to load it; a processor on which the operators do not
//! work in a precision shows by a trial. Either way the plain layers are left, which compute the same.

use std::sync::OnceLock;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use crate::layers::Activation;
use crate::scope::channels_last;

static ARCHIVE: &[u8] = include_bytes!("onednn.pt");

/// Whether networks rebuilt with [`MemoryLayout::Packed`](crate::MemoryLayout::Packed) in this kind have their
/// convolutions and linear layers computed by oneDNN with packed weights, here on this processor by this libtorch.
///
/// Found out by a trial at the first call for each kind; networks of other kinds and on other devices, and all where the
/// answer is no, compute the same by plain layers.
///
/// ```
/// use models::packs_weights;
/// use tch::Kind;
///
/// assert!(!packs_weights(Kind::Double));
/// ```
pub fn packs_weights(kind: Kind) -> bool {
    OneDnn::of(kind).is_some()
}

/// Where a convolution looks; all but the groups by axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry<const D: usize> {
    pub(crate) padding: [i64; D],
    pub(crate) stride: [i64; D],
    pub(crate) dilation: [i64; D],
    pub(crate) groups: i64,
}

impl<const D: usize> Geometry<D> {
    fn arguments(self) -> [IValue; 4] {
        let list = |numbers: [i64; D]| IValue::IntList(numbers.to_vec());
        [
            list(self.padding),
            list(self.stride),
            list(self.dilation),
            IValue::Int(self.groups),
        ]
    }
}

/// The operators.
#[derive(Debug)]
pub(crate) struct OneDnn(CModule);

impl OneDnn {
    /// The operators, if they work in this kind.
    pub(crate) fn of(kind: Kind) -> Option<&'static Self> {
        static MODULE: OnceLock<Option<OneDnn>> = OnceLock::new();
        static WORKS: [OnceLock<bool>; 3] = [const { OnceLock::new() }; 3];
        let works = match kind {
            Kind::Float => &WORKS[0],
            Kind::BFloat16 => &WORKS[1],
            Kind::Half => &WORKS[2],
            _ => return None,
        };
        let module = MODULE.get_or_init(|| CModule::load_data(&mut &*ARCHIVE).ok().map(Self));
        let module = module.as_ref()?;
        works
            .get_or_init(|| module.agrees_with_plain(kind).unwrap_or(false))
            .then_some(module)
    }

    /// Whether each operator gives what plain ones do, within the roundings of `kind`.
    fn agrees_with_plain(&self, kind: Kind) -> Result<bool, TchError> {
        let _no_grad = tch::no_grad_guard();
        let wave = |shape: &[i64]| {
            Tensor::f_arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu))?
                .f_sin()?
                .f_view(shape)?
                .f_to_kind(kind)
        };
        let (x, weight, bias) = (wave(&[2, 16, 7, 7])?, wave(&[32, 16, 3, 3])?, wave(&[32])?);
        let sum = wave(&[2, 32, 7, 7])?;
        let (rows, matrix) = (wave(&[14, 24])?, wave(&[32, 24])?);
        let geometry = Geometry::<2> {
            padding: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let packed = self.pack(&weight, geometry, &x.size())?;
        let y = x.f_convolution(&weight, Some(&bias), [1; 2], [1; 2], [1; 2], false, [0; 2], 1)?;
        // bf16 has 8 bits, of sums of 144 products.
        let tolerance = if kind == Kind::Float { 1e-5 } else { 0.02 };
        let close = |found: Tensor, expected: Tensor| {
            let difference = found
                .f_to_kind(Kind::Double)?
                .f_sub(&expected.f_to_kind(Kind::Double)?)?;
            let largest = expected.f_to_kind(Kind::Double)?.f_abs()?.f_max()?;
            let difference = difference.f_abs()?.f_max()?.f_double_value(&[])?;
            Ok::<_, TchError>(found.f_kind()? == kind && difference <= tolerance * largest.f_double_value(&[])?)
        };
        let convolve = |activation| self.convolve(&x, &packed, Some(&bias), geometry, activation);
        Ok(close(convolve(None)?, y.shallow_clone())?
            && close(convolve(Some(Activation::Relu))?, y.f_relu()?)?
            && close(convolve(Some(Activation::Relu6))?, y.f_relu6()?)?
            && close(
                self.convolve_onto(
                    sum.f_to_dtype(kind, false, true)?,
                    &x,
                    &packed,
                    Some(&bias),
                    geometry,
                    Some(Activation::Relu),
                )?,
                y.f_add(&sum)?.f_relu()?,
            )?
            && close(
                self.linear(
                    &rows,
                    &self.pack_linear(&matrix, 14)?,
                    Some(&bias),
                    Some(Activation::Relu),
                )?,
                rows.f_linear(&matrix, Some(&bias))?.f_relu()?,
            )?)
    }

    /// `weight` as it is best for inputs of this size: of any other size the results are the same and take longer.
    pub(crate) fn pack<const D: usize>(
        &self,
        weight: &Tensor,
        geometry: Geometry<D>,
        input: &[i64],
    ) -> Result<Tensor, TchError> {
        let arguments = [IValue::Tensor(weight.shallow_clone())]
            .into_iter()
            .chain(geometry.arguments())
            .chain([IValue::IntList(input.to_vec())]);
        self.call("pack", arguments)
    }

    /// activation(conv(x)).
    pub(crate) fn convolve<const D: usize>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        geometry: Geometry<D>,
        activation: Option<Activation>,
    ) -> Result<Tensor, TchError> {
        let arguments = inputs(x, weight, bias).into_iter().chain(geometry.arguments());
        match activation {
            Some(Activation::Relu6) => {
                let bounds = [IValue::Double(0.0), IValue::Double(6.0)];
                self.call("convolve_clamp", arguments.chain(bounds))
            }
            activation => self.call("convolve", arguments.chain([name(activation)])),
        }
    }

    /// `weight` `[out, in]` as it is best for this many rows.
    pub(crate) fn pack_linear(&self, weight: &Tensor, rows: i64) -> Result<Tensor, TchError> {
        let weight = IValue::Tensor(weight.shallow_clone());
        self.call("pack_linear", [weight, IValue::Int(rows)])
    }

    /// activation(x·weightᵀ + bias).
    pub(crate) fn linear(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Tensor, TchError> {
        match activation {
            // It has bounds, which the call has no room for.
            Some(Activation::Relu6) => Activation::Relu6.apply_(self.linear(x, weight, bias, None)?),
            activation => self.call("linear", inputs(x, weight, bias).into_iter().chain([name(activation)])),
        }
    }

    /// activation(conv(x) + sum), written over `sum` if that is channels last.
    pub(crate) fn convolve_onto<const D: usize>(
        &self,
        sum: Tensor,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        geometry: Geometry<D>,
        activation: Option<Activation>,
    ) -> Result<Tensor, TchError> {
        let name = match activation {
            Some(Activation::Relu) => IValue::String("relu".to_owned()),
            _ => IValue::None,
        };
        // The operator adds in the same pass to this layout only, and to any other not at all in bf16.
        let arguments = [IValue::Tensor(channels_last(&sum)?)]
            .into_iter()
            .chain(inputs(x, weight, bias))
            .chain(geometry.arguments());
        let y = self.call("convolve_add_", arguments.chain([name]))?;
        // Behind a sum the operator knows this one only.
        match activation {
            None | Some(Activation::Relu) => Ok(y),
            Some(activation) => activation.apply_(y),
        }
    }

    fn call(&self, method: &str, arguments: impl IntoIterator<Item = IValue>) -> Result<Tensor, TchError> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        self.0.method_is(method, &arguments)?.try_into()
    }
}

/// What oneDNN's operators call an activation; a `hardtanh` needs its bounds too.
fn name(activation: Option<Activation>) -> IValue {
    let name = match activation {
        None => "none",
        Some(Activation::Relu) => "relu",
        Some(Activation::Relu6) => "hardtanh",
        Some(Activation::Silu) => "swish",
        Some(Activation::HardSwish) => "hardswish",
        Some(Activation::HardSigmoid) => "hardsigmoid",
        Some(Activation::Sigmoid) => "sigmoid",
        Some(Activation::Gelu) => "gelu",
    };
    IValue::String(name.to_owned())
}

fn inputs(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> [IValue; 3] {
    [
        IValue::Tensor(x.shallow_clone()),
        IValue::Tensor(weight.shallow_clone()),
        bias.map_or(IValue::None, |bias| IValue::Tensor(bias.shallow_clone())),
    ]
}
