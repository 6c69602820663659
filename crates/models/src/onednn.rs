//! oneDNN's convolutions and linear layers with packed weights, which add a tensor and apply an activation in the same
//! pass over the output.
//!
//! libtorch registers them for its compiler (`mkldnn::_convolution_pointwise` and its kin) and tch has no functions for
//! them, but TorchScript reaches any operator by name: `onednn.pt`, which `scripts/onednn.py` writes, is a module of a
//! few calls and no weights. A libtorch without oneDNN refuses to load it; a processor on which the operators do not
//! work in a precision shows by a trial of each. Either way the plain layers are left, which compute the same.

use std::sync::OnceLock;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use crate::cuda_library;
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
    let _ = cuda_library::load();
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

    /// Whether each operator gives what plain ones do, within the roundings of `kind`: over images and volumes, in one group
    /// and in several, before each activation.
    fn agrees_with_plain(&self, kind: Kind) -> Result<bool, TchError> {
        let _no_grad = tch::no_grad_guard();
        let (rows, matrix, bias) = (wave(&[14, 24], kind)?, wave(&[32, 24], kind)?, wave(&[32], kind)?);
        let packed = self.pack_linear(&matrix, 14)?;
        let plain = rows.f_linear(&matrix, Some(&bias))?;
        for activation in ACTIVATIONS {
            let found = self.linear(&rows, &packed, Some(&bias), activation)?;
            if !close(&found, &activated(&plain, activation)?)? {
                return Ok(false);
            }
        }
        Ok(self.convolves::<2>(kind, 1)?
            && self.convolves::<2>(kind, 16)?
            && self.convolves::<3>(kind, 1)?
            && self.convolves::<3>(kind, 4)?)
    }

    fn convolves<const D: usize>(&self, kind: Kind, groups: i64) -> Result<bool, TchError> {
        let geometry = Geometry {
            padding: [1; D],
            stride: [1; D],
            dilation: [1; D],
            groups,
        };
        let shaped = |channels: [i64; 2], extent| [channels.as_slice(), &[extent; D]].concat();
        let x = channels_last(&wave(&shaped([2, 16], 7), kind)?)?;
        let weight = wave(&shaped([32, 16 / groups], 3), kind)?;
        let (bias, sum) = (wave(&[32], kind)?, wave(&shaped([2, 32], 7), kind)?);
        let packed = self.pack(&weight, geometry, &x.size())?;
        let plain = x.f_convolution(&weight, Some(&bias), [1; D], [1; D], [1; D], false, [0; D], groups)?;
        let with_sum = plain.f_add(&sum)?;
        for activation in ACTIVATIONS {
            let alone = self.convolve(&x, &packed, Some(&bias), geometry, activation)?;
            let copy = sum.f_to_dtype(kind, false, true)?;
            let onto = self.convolve_onto(copy, &x, &packed, Some(&bias), geometry, activation)?;
            if !close(&alone, &activated(&plain, activation)?)? || !close(&onto, &activated(&with_sum, activation)?)? {
                return Ok(false);
            }
        }
        Ok(true)
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
        match name(activation) {
            Some(name) => self.call("convolve", arguments.chain([IValue::String(name.to_owned())])),
            None => {
                let bounds = [IValue::Double(0.0), IValue::Double(6.0)];
                self.call("convolve_clamp", arguments.chain(bounds))
            }
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
        match name(activation) {
            Some(name) => {
                let name = IValue::String(name.to_owned());
                self.call("linear", inputs(x, weight, bias).into_iter().chain([name]))
            }
            None => Activation::Relu6.apply_(self.linear(x, weight, bias, None)?),
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

/// What oneDNN's operators call an activation; ReLU6 has no name alone, for it needs its bounds too.
fn name(activation: Option<Activation>) -> Option<&'static str> {
    match activation {
        None => Some("none"),
        Some(Activation::Relu) => Some("relu"),
        Some(Activation::Relu6) => None,
        Some(Activation::Silu) => Some("swish"),
        Some(Activation::HardSwish) => Some("hardswish"),
        Some(Activation::HardSigmoid) => Some("hardsigmoid"),
        Some(Activation::Sigmoid) => Some("sigmoid"),
        Some(Activation::Gelu) => Some("gelu"),
    }
}

/// What a trial goes through.
const ACTIVATIONS: [Option<Activation>; 8] = [
    None,
    Some(Activation::Relu),
    Some(Activation::Relu6),
    Some(Activation::Silu),
    Some(Activation::HardSwish),
    Some(Activation::HardSigmoid),
    Some(Activation::Sigmoid),
    Some(Activation::Gelu),
];

fn wave(shape: &[i64], kind: Kind) -> Result<Tensor, TchError> {
    Tensor::f_arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu))?
        .f_sin()?
        .f_view(shape)?
        .f_to_kind(kind)
}

fn activated(y: &Tensor, activation: Option<Activation>) -> Result<Tensor, TchError> {
    let copy = y.f_to_dtype(y.f_kind()?, false, true)?;
    activation.map_or(Ok(copy.shallow_clone()), |activation| activation.apply_(copy))
}

/// Within a part of the largest number: half precision has 8 bits or 11, of sums of up to 432 products.
fn close(found: &Tensor, expected: &Tensor) -> Result<bool, TchError> {
    let kind = expected.f_kind()?;
    let tolerance = if kind == Kind::Float { 1e-5 } else { 0.02 };
    let (found_kind, found) = (found.f_kind()?, found.f_to_kind(Kind::Double)?);
    let expected = expected.f_to_kind(Kind::Double)?;
    let largest = |tensor: &Tensor| tensor.f_abs()?.f_max()?.f_double_value(&[]);
    Ok(found_kind == kind && largest(&found.f_sub(&expected)?)? <= tolerance * largest(&expected)?)
}

fn inputs(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> [IValue; 3] {
    [
        IValue::Tensor(x.shallow_clone()),
        IValue::Tensor(weight.shallow_clone()),
        bias.map_or(IValue::None, |bias| IValue::Tensor(bias.shallow_clone())),
    ]
}
